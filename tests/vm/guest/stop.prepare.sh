. /out/guest/volume.sh

# A second volume, on two whole disks; its filesystem is in no fstab.
cat >/etc/surefoot/volumes.d/vol1.conf <<V
[volume]
name = vol1
device = /dev/nbd1
on_too_few = suspend
write_deadline = 1s
read_deadline = 1s
flush_deadline = 2s
wait_for_legs = 30s
[leg a]
path = /dev/vdd
[leg b]
path = /dev/vde
V
if [[ ! -e /out/made ]]; then
  surefootctl create /etc/surefoot/volumes.d/vol1.conf --size 64M >/dev/console 2>&1
fi
mkdir -p /mnt/plain
# vol0 is LVM's from the first boot's end on.  A busy host may take longer than systemd's 90 s until it is up, and what
# has timed out is not mounted by itself any more.
sed -i '/nbd0/d' /etc/fstab
[[ ! -e /out/made ]] ||
  echo "/dev/vg/data /srv/vol0 ext4 _netdev,nofail,x-systemd.requires=surefoot.target,x-systemd.device-timeout=3600 0 2" >>/etc/fstab
# As its package enables it.
ln -s /lib/systemd/system/blk-availability.service /etc/systemd/system/vmtest.target.wants/

# After surefootd has stopped at a shutdown: how that went, and what the kernel thinks of it.
cat >/etc/systemd/system/ends.service <<S
[Unit]
Before=surefootd.service
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/true
ExecStop=/bin/sh -c 'systemctl show -P Result surefootd >/out/ended; \
  dmesg | grep -E "I/O error|aborted journal|EXT4-fs error" >>/out/ended; \
  ls -d /sys/block/nbd*/pid >>/out/ended 2>/dev/null; \
  journalctl -b -o short-monotonic --no-pager -n 300 >/out/ended.journal; true'
S
ln -s ../ends.service /etc/systemd/system/vmtest.target.wants/
