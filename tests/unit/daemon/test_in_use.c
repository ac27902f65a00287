#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>
#include <linux/fuse.h>
#include <linux/loop.h>

#include "device/in_use.h"

enum { HANGS_S = 10, DISK_BYTES = 1 << 20 };

/* ---- a disk ---- */

struct disk {
  char name[16], path[32];
  int fd;
};

/* It is gone with its last opener. */
static bool
make_disk(struct disk *disk) {
  char file[] = "/tmp/test-in-use-XXXXXX";
  int control = open("/dev/loop-control", O_RDWR | O_CLOEXEC), backing = mkstemp(file);
  unlink(file);
  assert_true(backing >= 0);
  assert_int_equal(ftruncate(backing, DISK_BYTES), 0);
  bool made = false;
  for (int try = 0; control >= 0 && !made && try < 20; try++) { /* others look for one too */
    int number = ioctl(control, LOOP_CTL_GET_FREE);
    if (number < 0)
      break;
    snprintf(disk->name, sizeof disk->name, "loop%d", number);
    snprintf(disk->path, sizeof disk->path, "/dev/loop%d", number);
    struct loop_config config = {.fd = (__u32) backing,
                                 .info.lo_flags = LO_FLAGS_AUTOCLEAR | LO_FLAGS_READ_ONLY};
    disk->fd = open(disk->path, O_RDONLY | O_CLOEXEC);
    made = disk->fd >= 0 && ioctl(disk->fd, LOOP_CONFIGURE, &config) == 0;
    if (disk->fd >= 0 && !made)
      close(disk->fd);
  }
  if (control >= 0)
    close(control);
  close(backing);
  return made;
}

/* ---- a file system that hangs when it is asked for anything but what opening takes ---- */

struct hanging {
  char folder[32];
  int server, file;
  pthread_t thread;
};

static void
answer(int server, uint64_t unique, const void *what, size_t size) {
  char bytes[512];
  struct fuse_out_header header = {.len = (uint32_t) (sizeof header + size), .unique = unique};
  memcpy(bytes, &header, sizeof header);
  if (size > 0)
    memcpy(bytes + sizeof header, what, size);
  assert_int_equal(write(server, bytes, header.len), header.len);
}

static void *
serve(void *arg) {
  struct hanging *hanging = arg;
  static _Alignas(8) char bytes[1 << 17];
  while (read(hanging->server, bytes, sizeof bytes) > 0) {
    const struct fuse_in_header *request = (const void *) bytes;
    const struct fuse_init_in *init = (const void *) (request + 1);
    if (request->opcode == FUSE_INIT) {
      struct fuse_init_out reply = {
          .major = 7, .minor = init->minor, .max_write = 4096, .max_readahead = 4096};
      answer(hanging->server, request->unique, &reply, sizeof reply);
    } else if (request->opcode == FUSE_LOOKUP) {
      struct fuse_entry_out reply = {
          .nodeid = 2, .attr = {.ino = 2, .mode = S_IFREG | 0644, .nlink = 1, .blksize = 4096}};
      answer(hanging->server, request->unique, &reply, sizeof reply);
    } else if (request->opcode == FUSE_FLUSH) { /* by a process that ends with the file inherited */
      answer(hanging->server, request->unique, NULL, 0);
    } else if (request->opcode == FUSE_OPEN) {
      struct fuse_open_out reply = {.fh = 1};
      answer(hanging->server, request->unique, &reply, sizeof reply);
    }
  }
  return NULL;
}

static bool
mount_hanging(struct hanging *hanging) {
  char options[96], path[64];
  snprintf(hanging->folder, sizeof hanging->folder, "/tmp/test-in-use-XXXXXX");
  hanging->server = open("/dev/fuse", O_RDWR | O_CLOEXEC);
  if (hanging->server < 0)
    return false;
  assert_non_null(mkdtemp(hanging->folder));
  snprintf(options, sizeof options, "fd=%d,rootmode=40000,user_id=0,group_id=0", hanging->server);
  if (mount("test", hanging->folder, "fuse", 0, options) < 0) {
    close(hanging->server);
    rmdir(hanging->folder);
    return false;
  }
  assert_int_equal(pthread_create(&hanging->thread, NULL, serve, hanging), 0);
  snprintf(path, sizeof path, "%s/file", hanging->folder);
  hanging->file = open(path, O_RDONLY | O_CLOEXEC);
  assert_true(hanging->file >= 0);
  return true;
}

static void
unmount(struct hanging *hanging) {
  assert_int_equal(umount2(hanging->folder, MNT_FORCE | MNT_DETACH), 0);
  close(hanging->file);
  pthread_join(hanging->thread, NULL);
  close(hanging->server);
  rmdir(hanging->folder);
}

/* ---- */

/* Proves that a process that has a disk open is named, and that none is when it is free. */
static void
an_open_device(void **state) {
  struct disk disk;
  char why[512] = "", wanted[64];
  if (!make_disk(&disk))
    skip();
  assert_true(sfd_in_use(disk.name, why, sizeof why));
  snprintf(wanted, sizeof wanted, "%s is open in ", disk.name);
  assert_memory_equal(why, wanted, strlen(wanted));
  snprintf(wanted, sizeof wanted, "(process %d)", (int) getpid());
  assert_non_null(strstr(why, wanted));
  close(disk.fd);
  assert_false(sfd_in_use("no-such-disk", why, sizeof why));
}

/* Proves that the kernel is asked whether it is held. */
static void
held(void **state) {
  struct disk disk;
  if (!make_disk(&disk))
    skip();
  assert_int_equal(sfd_in_use_exclusively(disk.path), 0);
  int holder = open(disk.path, O_RDONLY | O_EXCL | O_CLOEXEC);
  assert_true(holder >= 0);
  assert_int_equal(sfd_in_use_exclusively(disk.path), -EBUSY);
  close(holder);
  close(disk.fd);
  assert_int_equal(sfd_in_use_exclusively((char[]){"/dev/no-such-disk"}), -ENOENT);
}

/* Proves that a process with a file open on a file system that hangs does not hold the look up. */
static void
beside_a_file_system_that_hangs(void **state) {
  struct hanging hanging;
  struct disk disk;
  char why[512];
  if (!make_disk(&disk))
    skip();
  if (!mount_hanging(&hanging)) {
    close(disk.fd);
    skip();
  }
  /* Every process is looked at, this one too, unless an opener is found before. */
  int moved = fcntl(disk.fd, F_DUPFD_CLOEXEC, 500);
  close(disk.fd);
  pid_t looks = fork();
  if (looks == 0) {
    close(hanging.server);
    _exit(sfd_in_use(disk.name, why, sizeof why) ? 0 : 1);
  }
  int status = -1;
  for (int tries = 0; tries < HANGS_S * 100 && waitpid(looks, &status, WNOHANG) != looks; tries++)
    usleep(10000);
  unmount(&hanging); /* frees a process that hangs */
  close(moved);
  assert_int_equal(status, 0);
}

/* A loop device on a file: its name; NULL: it is not to be had. */
static const char *
mount_file(const char *file, const char *folder, char name[16]) {
  char command[256];
  snprintf(
      command, sizeof command,
      "truncate -s 16M %s && mkfs.ext4 -q -F %s && mkdir %s && loop=$(losetup -f --show %s) && "
      "{ mount $loop %s && basename $loop || { losetup -d $loop; false; }; } 2>/dev/null",
      file, file, folder, file, folder);
  FILE *output = popen(command, "r");
  bool made = output && fscanf(output, "%15s", name) == 1;
  return output && pclose(output) == 0 && made ? name : NULL;
}

/* Proves that what is on a file of a filesystem is ended before it, and the loop device between them is let go. */
static void
units_and_loops(void **state) {
  static struct sfd_in_use_list list;
  char folder[] = "/tmp/test-in-use-XXXXXX", outer[16], inner[16], command[256];
  assert_non_null(mkdtemp(folder));
  assert_int_equal(chdir(folder), 0);
  const char *made = mount_file("a.img", "a", outer);
  if (made)
    made = mount_file("a/b.img", "b", inner);
  if (made)
    sfd_in_use_list(outer, &list);
  snprintf(command, sizeof command,
           "for i in b a; do umount $i; losetup -j $([ $i = a ] || echo a/)$i.img | cut -d: -f1 | "
           "xargs -r "
           "losetup -d; done 2>/dev/null; cd /; rm -rf %s",
           folder);
  (void) !system(command);
  assert_int_equal(chdir("/"), 0);
  if (!made)
    skip();
  assert_int_equal(list.count, 2);
  assert_string_equal(strrchr(list.unit[0], '/'), "/a");
  assert_string_equal(strrchr(list.unit[1], '/'), "/b");
  assert_int_equal(list.loops, 1);
  assert_string_equal(list.loop[0], inner);
}

/* Proves that a filesystem with device numbers of its own is seen on each of the disks that it is on. */
static void
btrfs(void **state) {
  static struct sfd_in_use_list list;
  char folder[] = "/tmp/test-in-use-XXXXXX", disk[2][16], command[512], why[2][512] = {"", ""};
  assert_non_null(mkdtemp(folder));
  snprintf(
      command, sizeof command,
      "cd %s && mkdir m && truncate -s 200M a b && A=$(losetup -f --show a) && B=$(losetup -f "
      "--show b) && "
      "{ mkfs.btrfs -q $A $B >&2 && mount $A m && basename -a $A $B || { losetup -d $A $B; false; "
      "}; } 2>/dev/null",
      folder);
  FILE *output = popen(command, "r");
  bool made = output && fscanf(output, "%15s %15s", disk[0], disk[1]) == 2;
  made = output && pclose(output) == 0 && made;
  for (unsigned i = 0; made && i < 2; i++)
    sfd_in_use_at_last(disk[i], why[i], sizeof why[i]);
  if (made)
    sfd_in_use_list(disk[1], &list);
  snprintf(command, sizeof command,
           "cd %s && { umount m; for i in a b; do losetup -j $i | cut -d: -f1 | xargs -r losetup "
           "-d; done; cd /; "
           "rm -rf %s; } 2>/dev/null",
           folder, folder);
  (void) !system(command);
  if (!made)
    skip();
  for (unsigned i = 0; i < 2; i++) {
    snprintf(command, sizeof command, "%s is mounted on %s/m", disk[i], folder);
    assert_string_equal(why[i], command);
  }
  assert_int_equal(list.count, 1);
}

int
main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(an_open_device),
      cmocka_unit_test(held),
      cmocka_unit_test(units_and_loops),
      cmocka_unit_test(btrfs),
      cmocka_unit_test(beside_a_file_system_that_hangs),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
