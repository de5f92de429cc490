#!/bin/sh
# Builds the Containerfile with buildah where no registry can be reached, and uses the image as a person would.
#
# The base image is made of Debian's packages under the name that the Containerfile asks for, so every instruction runs,
# but on Debian's Python instead of the one of that image. Needs root, buildah and debootstrap, and reaches a mirror of
# Debian and an index of Python packages. Nothing of it stays but the folder that is given (default .cache/container).
set -eu
folder=${1:-.cache/container}
for tool in buildah debootstrap; do
    command -v $tool > /dev/null || { echo "$tool is not here: apt-get install buildah debootstrap" >&2; exit 3; }
done
rm -rf "$folder" && mkdir -p "$folder"
folder=$(cd "$folder" && pwd)
image=docker.io/library/python:$(sed -n 's/^ARG PYTHON=//p' Containerfile)
run="buildah --root $folder/images --runroot $folder/run --storage-driver vfs"

debootstrap --variant=minbase --include=python3,python3-venv,ca-certificates bookworm "$folder/base" > "$folder/base.log"
ln -sf python3 "$folder/base/usr/bin/python"
base=$($run from scratch)
$run add -q "$base" "$folder/base" / > /dev/null
$run commit -q --rm "$base" "$image" > /dev/null
rm -rf "$folder/base"

printf '[global]\ncert = /etc/ssl/certs/ca-certificates.crt\n' > "$folder/pip.conf"  # a proxy may have one of its own
$run bud --isolation chroot --pull-never -t imdswatch \
    -v "$folder/pip.conf:/etc/pip.conf:ro" -v /etc/ssl/certs:/etc/ssl/certs:ro . > "$folder/build.log" 2>&1 ||
    { tail -n 30 "$folder/build.log" >&2; exit 1; }

made=$($run from --pull-never localhost/imdswatch)
inside() { $run run --isolation chroot -v "$PWD/examples:/logs:ro" "$made" -- "$@"; }
inside imdswatch --version
[ "$(inside id -u)" = 65532 ] || { echo "it runs as somebody else" >&2; exit 1; }
code=0 && inside imdswatch scan /logs -q > "$folder/scan.txt" || code=$?
[ "$code" = 1 ] || { echo "the scan of examples/ ended with $code" >&2; exit 1; }
sed -n 1,3p "$folder/scan.txt"
inside sh -c 'if touch /opt/imdswatch/x 2> /dev/null; then echo "it can change itself" >&2; exit 1; fi; touch /spool/x'
inside imdswatch export splunk -o /tmp/content
echo "the image builds and runs"
