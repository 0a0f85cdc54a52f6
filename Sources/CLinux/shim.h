// What Linux's C library has and Swift's Glibc module leaves out, because it is built without _GNU_SOURCE.
#ifndef OUTRIGGER_CLINUX_H
#define OUTRIGGER_CLINUX_H

// memfd_create(2)
extern int memfd_create(const char *name, unsigned int flags);

enum { outrigger_memfd_cloexec = 0x0001U };

// eventfd(2)
extern int eventfd(unsigned int initial, int flags);

enum { outrigger_efd_cloexec = 02000000, outrigger_efd_nonblock = 04000 };

// accept4(2)
struct sockaddr;
extern int accept4(int descriptor, struct sockaddr *address, unsigned int *length, int flags);

// fallocate(2)
extern int fallocate(int descriptor, int mode, long offset, long length);

enum {
    outrigger_falloc_keep_size = 0x01,
    outrigger_falloc_punch_hole = 0x02,
    outrigger_falloc_zero_range = 0x10
};

// nftw(3)
struct stat;
struct FTW;
extern int nftw(
    const char *folder, int (*visit)(const char *path, const struct stat *status, int kind, struct FTW *place), int descriptors, int flags);

enum { outrigger_ftw_phys = 1, outrigger_ftw_depth = 8 };

// lseek(2)
enum { outrigger_seek_data = 3, outrigger_seek_hole = 4 };

#endif
