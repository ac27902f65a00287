. /out/guest/volume.sh
