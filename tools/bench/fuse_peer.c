// The yardstick of the FUSE benchmark: a minimal server in libfuse's stock loop, and the client that measures it and the emulator's.
//
//   fuse_peer serve MOUNT_POINT              one 64-byte file, `register`, with direct I/O
//   fuse_peer measure FILE COUNT CPU OFFSET  prints nanoseconds per 4-byte pread and pwrite; CPU -1: not pinned
#define _GNU_SOURCE
#define FUSE_USE_VERSION 314
#include <errno.h>
#include <fcntl.h>
#include <fuse3/fuse_lowlevel.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { REGISTER_INODE = 2, SIZE = 64 };
static char registers[SIZE];

static void fill(fuse_ino_t inode, struct stat *status) {
    *status = (struct stat){.st_ino = inode, .st_nlink = 1};
    status->st_mode = inode == FUSE_ROOT_ID ? S_IFDIR | 0755 : S_IFREG | 0600;
    status->st_size = inode == FUSE_ROOT_ID ? 0 : SIZE;
}

static void get_attributes(fuse_req_t request, fuse_ino_t inode, struct fuse_file_info *info) {
    (void)info;
    struct stat status;
    fill(inode, &status);
    fuse_reply_attr(request, &status, 1);
}

static void look_up(fuse_req_t request, fuse_ino_t parent, const char *name) {
    (void)parent;
    struct fuse_entry_param entry = {.ino = REGISTER_INODE, .attr_timeout = 1, .entry_timeout = 1};
    if (strcmp(name, "register") != 0) {
        fuse_reply_err(request, ENOENT);
        return;
    }
    fill(REGISTER_INODE, &entry.attr);
    fuse_reply_entry(request, &entry);
}

static void open_file(fuse_req_t request, fuse_ino_t inode, struct fuse_file_info *info) {
    (void)inode;
    info->direct_io = 1;
    fuse_reply_open(request, info);
}

static void read_file(fuse_req_t request, fuse_ino_t inode, size_t size, off_t offset, struct fuse_file_info *info) {
    (void)inode;
    (void)info;
    if (offset + (off_t)size > SIZE) fuse_reply_err(request, EINVAL);
    else fuse_reply_buf(request, registers + offset, size);
}

static void write_file(
    fuse_req_t request, fuse_ino_t inode, const char *bytes, size_t size, off_t offset, struct fuse_file_info *info) {
    (void)inode;
    (void)info;
    if (offset + (off_t)size > SIZE) {
        fuse_reply_err(request, EINVAL);
        return;
    }
    memcpy(registers + offset, bytes, size);
    fuse_reply_write(request, size);
}

static int serve(char *program, char *mount_point) {
    const struct fuse_lowlevel_ops operations = {
        .lookup = look_up, .getattr = get_attributes, .open = open_file, .read = read_file, .write = write_file};
    char *arguments[] = {program, NULL};
    struct fuse_args list = FUSE_ARGS_INIT(1, arguments);
    struct fuse_session *session = fuse_session_new(&list, &operations, sizeof operations, NULL);
    if (!session || fuse_set_signal_handlers(session) != 0 || fuse_session_mount(session, mount_point) != 0) return 1;
    puts("mounted");
    fflush(stdout);
    fuse_session_loop(session);
    fuse_session_unmount(session);
    fuse_session_destroy(session);
    return 0;
}

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec * 1e9 + (double)time.tv_nsec;
}

static int measure(const char *path, long count, int cpu, off_t offset) {
    if (cpu >= 0) {
        cpu_set_t set;
        CPU_ZERO(&set);
        CPU_SET(cpu, &set);
        if (sched_setaffinity(0, sizeof set, &set) != 0) return perror("sched_setaffinity"), 1;
    }
    int file = open(path, O_RDWR);
    if (file < 0) return perror(path), 1;
    uint32_t value = 0;
    for (long i = 0; i < count / 10; i++) {
        if (pread(file, &value, 4, offset) != 4) return perror("pread"), 1;
    }
    double start = now();
    for (long i = 0; i < count; i++) {
        if (pread(file, &value, 4, offset) != 4) return perror("pread"), 1;
    }
    double middle = now();
    for (long i = 0; i < count; i++) {
        value = (uint32_t)i;
        if (pwrite(file, &value, 4, offset) != 4) return perror("pwrite"), 1;
    }
    double end = now();
    printf("%.0f %.0f\n", (middle - start) / (double)count, (end - middle) / (double)count);
    return 0;
}

int main(int count, char **arguments) {
    if (count == 3 && strcmp(arguments[1], "serve") == 0) return serve(arguments[0], arguments[2]);
    if (count == 6 && strcmp(arguments[1], "measure") == 0) {
        return measure(arguments[2], strtol(arguments[3], NULL, 10), (int)strtol(arguments[4], NULL, 10), strtol(arguments[5], NULL, 0));
    }
    fprintf(stderr, "usage: %s serve MOUNT_POINT | measure FILE COUNT CPU OFFSET\n", arguments[0]);
    return 2;
}
