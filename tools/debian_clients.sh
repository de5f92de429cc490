#!/bin/sh
# Unpacks the AWS clients that Debian has into a folder, for `imdswatch lab run --clients`. Nothing is installed.
#
#     sh tools/debian_clients.sh .cache/clients/debian
#
# What is installed is used as it is; of the rest, what is a program by itself or written in Python is fetched by apt.
# Where there is no apt, or it knows of no packages (`apt-get update`), the lab reports those clients as missing.
set -eu
mkdir -p "$1"
cd "$1"
command -v apt-get > /dev/null && command -v dpkg > /dev/null || { echo "no Debian here: its clients are left out"; exit 0; }

for client in amazon-ec2-utils awscli cloud-init python3-boto rclone restic s3cmd; do
    # What would be fetched to install it, a line each: 'URI' FILE SIZE SUM
    if ! missing=$(apt-get --print-uris -qq --yes --no-install-recommends install "$client" 2> /dev/null); then
        echo "apt has no $client"
        continue
    fi
    names=$(echo "$missing" | awk -F "' " '/^.http|^.file|^.copy/ { sub(/_.*/, "", $2); print $2 }')
    for name in $names; do
        case $name in "$client" | python3-*) ;; *) continue ;; esac
        set -- "$name"_*.deb
        [ -e "$1" ] && continue
        apt-get -qq download "$name" 2> /dev/null || { echo "$name cannot be fetched"; continue; }
        dpkg -x "$name"_*.deb .
    done
done
rm -f -- *.deb
