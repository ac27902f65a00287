# For prepare scripts: before systemd reads its units, the legs, a volume's file and fstab are there.
# Sourced; $size: of the volume, if it is not to be 128M.

modprobe -a dm-mod virtio_blk
for letter in a b c; do
  DM_DISABLE_UDEV=1 dmsetup create leg-$letter \
    --table "0 $(blockdev --getsz /dev/vd$letter) linear /dev/vd$letter 0"
done

mkdir -p /etc/surefoot/volumes.d /srv/vol0
# Deadlines that software emulation keeps when nothing is wrong.
cat >/etc/surefoot/volumes.d/vol0.conf <<V
[volume]
name = vol0
device = /dev/nbd0
on_too_few = suspend
write_deadline = 1s
read_deadline = 1s
flush_deadline = 2s
wait_for_legs = 30s
[leg a]
path = /dev/mapper/leg-a
[leg b]
path = /dev/mapper/leg-b
[leg c]
path = /dev/mapper/leg-c
V

if [[ ! -e /out/made ]]; then
  surefootctl create /etc/surefoot/volumes.d/vol0.conf --zero --size "${size:-128M}" >/dev/console 2>&1 || true
fi

# The line of surefootd(8).  At the first boot there is no filesystem yet.
auto=,noauto
[[ ! -e /out/made ]] || auto=
echo "/dev/nbd0 /srv/vol0 ext4 _netdev,nofail$auto,x-systemd.requires=surefoot.target 0 2" >>/etc/fstab

# What `systemctl enable` does.
wants=/etc/systemd/system/vmtest.target.wants
mkdir -p $wants
ln -s /lib/systemd/system/surefootd.service /lib/systemd/system/surefoot.target \
  /lib/systemd/system/remote-fs.target $wants/
