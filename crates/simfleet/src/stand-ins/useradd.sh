#!/bin/sh
# Stands in for useradd(8): an account is a line in the device's own files.
E="$EVENKEEL_ROOT/etc"
shell=/bin/sh gecos= password='!'
while [ $# -gt 1 ]; do
  case "$1" in
    -m) shift ;;
    -s) shell="$2"; shift 2 ;;
    -c) gecos="$2"; shift 2 ;;
    -p) password="$2"; shift 2 ;;
    *) echo "useradd: invalid option -- '$1'" >&2; exit 2 ;;
  esac
done
touch "$E/passwd" "$E/shadow"
! grep -q "^$1:" "$E/passwd" || { echo "useradd: user '$1' already exists" >&2; exit 9; }
uid=$((1000+$(wc -l < "$E/passwd")))
echo "$1:x:$uid:$uid:$gecos:/home/$1:$shell" >> "$E/passwd"
echo "$1:$password:19700:0:99999:7:::" >> "$E/shadow"
mkdir -p "$EVENKEEL_ROOT/home/$1"
