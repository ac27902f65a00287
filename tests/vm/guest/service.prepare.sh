. /out/guest/volume.sh

# At the shutdown: stops when surefootd has stopped, and thaws the leg, since what systemd does to device
# mapper devices at the very end would wait for it.
cat >/etc/systemd/system/thaw.service <<S
[Unit]
Before=surefootd.service
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/true
ExecStop=/bin/sh -c 'systemctl show -P Result surefootd >/out/stopped; \
  cut -d " " -f 1 /proc/uptime >>/out/stopped; DM_DISABLE_UDEV=1 dmsetup resume leg-c'
S
# When the shutdown begins.
cat >/etc/systemd/system/begins.service <<S
[Unit]
After=surefootd.service srv-vol0.mount
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/true
ExecStop=/bin/sh -c 'cut -d " " -f 1 /proc/uptime >/out/begins'
S
