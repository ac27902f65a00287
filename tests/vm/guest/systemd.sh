# PID 1 before systemd: a machine that boots fast and runs the program as a service.
mount -t tmpfs t /run
mount -t tmpfs t /tmp
modprobe -a autofs4 fuse loop configfs dm-mod virtio_blk virtio_rng 2>/dev/console
# What makes the root below a container: systemd looks at the first, packages that start services at
# the second.
rm -f /.dockerenv /usr/sbin/policy-rc.d
echo vm >/etc/hostname
echo 0123456789abcdef0123456789abcdef >/etc/machine-id
units=/etc/systemd/system
rm -rf $units/*.wants
for unit in systemd-journal-flush systemd-random-seed e2scrub_reap keyboard-setup console-setup \
  systemd-pcrphase systemd-pcrphase-sysinit systemd-machine-id-commit systemd-networkd \
  systemd-resolved systemd-timesyncd systemd-firstboot systemd-hwdb-update ldconfig \
  systemd-update-done systemd-journal-catalog-update systemd-sysusers systemd-update-utmp \
  nbdkit nbd; do
  ln -sf /dev/null $units/$unit.service
done
[[ ! -e /usr/lib/sysusers.d/surefoot.conf ]] || systemd-sysusers surefoot.conf 2>/dev/console
cat >$units/vmtest.service <<S
[Unit]
Description=VM test $1
After=basic.target
[Service]
StandardOutput=file:/out/log
StandardError=inherit
ExecStart=-/usr/bin/python3 /out/guest/$1.py
ExecStopPost=/bin/sh -c 'echo \$EXIT_STATUS >/out/rc; systemctl poweroff --no-block'
S
cat >$units/vmtest.target <<S
[Unit]
Requires=basic.target
Wants=vmtest.service
After=basic.target
AllowIsolate=yes
S
# What must be there before systemd reads its units.
[[ ! -e /out/guest/$1.prepare.sh ]] || . /out/guest/"$1".prepare.sh
umount /dev/shm 2>/dev/null
exec /lib/systemd/systemd --unit=vmtest.target --log-target=journal --show-status=0
