#define _GNU_SOURCE
#include "CFileSpace.h"

#include <fcntl.h>
#include <linux/falloc.h>

int file_space_punch_hole(int descriptor, int64_t position, int64_t count) {
    return fallocate(descriptor, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, position, count);
}

int file_space_zero_range(int descriptor, int64_t position, int64_t count) {
    return fallocate(descriptor, FALLOC_FL_ZERO_RANGE, position, count);
}
