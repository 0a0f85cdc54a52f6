// fallocate(2), which the C library declares only for GNU sources and so not for Swift.
#pragma once
#include <stdint.h>

// Gives the bytes' space back; they read as zero, the file keeps its size. 0, or -1 with errno.
int file_space_punch_hole(int descriptor, int64_t position, int64_t count);

// Makes the bytes read as zero and keeps their space. 0, or -1 with errno.
int file_space_zero_range(int descriptor, int64_t position, int64_t count);
