#!/bin/sh
# A guest's disk on a volume that surefootd serves: requests wait for a server that is restarted.
exec qemu-system-x86_64 -m 1G \
  -blockdev driver=nbd,node-name=vol0,server.type=unix,server.path=/run/surefoot/vol0.sock,reconnect-delay=60,discard=unmap \
  -device virtio-blk-pci,drive=vol0 "$@"
