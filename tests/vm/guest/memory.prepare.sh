size=512M
. /out/guest/volume.sh
