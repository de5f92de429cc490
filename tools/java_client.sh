#!/bin/sh
# Fetches the AWS SDK for Java 1 into a folder, for `make truth-java`. Nothing is installed.
#
#     sh tools/java_client.sh .cache/clients/java PYTHON
#
# There is no Maven registry where this was made; PyPI's sdist of H2O carries an archive with the whole SDK in it
# (Apache-2.0), 260 MB. Needs pip and a JDK.
set -eu
folder=$1 python=$2
mkdir -p "$folder"
command -v javac > /dev/null || { echo "no JDK here: the Java client will be missing"; exit 0; }
"$python" -m pip download --quiet --disable-pip-version-check --no-deps --no-binary :all: --require-hashes \
    -r tests/clients/java.lock -d "$folder"
tar -xzf "$folder"/h2o-*.tar.gz -C "$folder" --strip-components=4 --wildcards '*/h2o.jar'
rm "$folder"/h2o-*.tar.gz
javac -cp "$folder/h2o.jar" -d "$folder" tests/clients/Ask.java
