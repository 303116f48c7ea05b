#!/bin/sh
# Stands in for id(1): who logs in to a simulated device is its root.
case "$1" in -u|-g) echo 0 ;; -un|-gn) echo root ;; *) echo 'uid=0(root) gid=0(root) groups=0(root)' ;; esac
