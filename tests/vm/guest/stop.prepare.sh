. /out/guest/volume.sh

# Two more volumes, each on two whole disks, which are in no fstab: a filesystem, and swap.
legs=(d e f g)
for number in 1 2; do
  cat >/etc/surefoot/volumes.d/vol$number.conf <<V
[volume]
name = vol$number
device = /dev/nbd$number
on_too_few = suspend
write_deadline = 1s
read_deadline = 1s
flush_deadline = 2s
wait_for_legs = 30s
[leg a]
path = /dev/vd${legs[2 * number - 2]}
[leg b]
path = /dev/vd${legs[2 * number - 1]}
V
  [[ -e /out/made ]] ||
    surefootctl create /etc/surefoot/volumes.d/vol$number.conf --zero --size 64M >/dev/console 2>&1
done
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
  dmesg | grep -E "I/O error|aborted journal|EXT4-fs error|on swap-device" >>/out/ended; \
  ls -d /sys/block/nbd*/pid >>/out/ended 2>/dev/null; \
  journalctl -b -o short-monotonic --no-pager -n 300 >/out/ended.journal; \
  if systemctl -q is-active keeper; then \
    timeout 60 sh -c "until test -e /run/kept; do sleep 0.2; done"; cat /run/kept >/out/kept; fi; true'
S
ln -s ../ends.service /etc/systemd/system/vmtest.target.wants/
