// Writes sectors of a disk, reads them back and compares them: block FOLDER SECTORS [legacy]
#include "virtio.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/// 5.2.3, 5.2.6.
enum { FEATURE_FLUSH = 9 };
enum { READ = 0, WRITE = 1, FLUSH = 4 };
enum { SECTOR = 512, MOST = 128 };

struct header {
    uint32_t type, reserved;
    uint64_t sector;
};

/// One request at a time, in memory of its own.
struct disk {
    struct device device;
    struct queue queue;
    struct memory memory;
    struct header *header;
    uint8_t *status, *data;
};

/// A request is a chain of three parts: what is to be done, which the device reads; the data; and a byte of status, which it writes.
static void request(struct disk *disk, uint32_t type, uint64_t sector, uint32_t bytes) {
    *disk->header = (struct header){.type = type, .sector = sector};
    *disk->status = 0xff;
    struct buffer parts[3] = {{memory_address(&disk->memory, disk->header), sizeof *disk->header, false}};
    unsigned count = 1;
    if (bytes) parts[count++] = (struct buffer){memory_address(&disk->memory, disk->data), bytes, type == READ};
    parts[count++] = (struct buffer){memory_address(&disk->memory, disk->status), 1, true};
    queue_add(&disk->queue, parts, count);
    queue_publish(&disk->queue);
    device_notify(&disk->device, &disk->queue);
    uint32_t written;
    while (queue_take(&disk->queue, &written) < 0) {}
    if (*disk->status != 0) fail("request %u at sector %" PRIu64 ": status %u", type, sector, *disk->status);
}

/// What a sector is to hold.
static void fill(uint8_t *data, uint64_t sector) {
    for (uint64_t i = 0; i < SECTOR / 8; i++) memcpy(data + 8 * i, &(uint64_t){(sector * 64 + i) * UINT64_C(0x9e3779b97f4a7c15)}, 8);
}

int main(int count, char **arguments) {
    if (count < 3) fail("usage: block FOLDER SECTORS [legacy]");
    uint64_t sectors = strtoull(arguments[2], NULL, 0);
    static struct disk disk;
    memory_open(&disk.memory);
    const struct transport *transport = count > 3 && strcmp(arguments[3], "legacy") == 0 ? &legacy : &modern;
    device_open(&disk.device, arguments[1], transport, FEATURE(VERSION_1) | FEATURE(FEATURE_FLUSH));
    device_start_queue(&disk.device, &disk.queue, 0, 16, &disk.memory);
    disk.header = memory_take(&disk.memory, sizeof *disk.header, 16);
    disk.status = memory_take(&disk.memory, 1, 1);
    disk.data = memory_take(&disk.memory, SECTOR * MOST, SECTOR);
    device_start(&disk.device);

    // The first field of a disk's configuration is its capacity (5.2.4).
    uint64_t capacity = device_configuration(&disk.device, 0, 8);
    if (sectors > capacity) fail("%" PRIu64 " sectors expected, the disk has %" PRIu64, sectors, capacity);
    for (uint64_t sector = 0; sector < sectors; sector += MOST) {
        uint64_t here = sectors - sector < MOST ? sectors - sector : MOST;
        for (uint64_t i = 0; i < here; i++) fill(disk.data + SECTOR * i, sector + i);
        request(&disk, WRITE, sector, (uint32_t)(SECTOR * here));
    }
    if (disk.device.features & FEATURE(FEATURE_FLUSH)) request(&disk, FLUSH, 0, 0);
    for (uint64_t sector = 0; sector < sectors; sector += MOST) {
        uint64_t here = sectors - sector < MOST ? sectors - sector : MOST;
        memset(disk.data, 0, SECTOR * MOST);
        request(&disk, READ, sector, (uint32_t)(SECTOR * here));
        for (uint64_t i = 0; i < here; i++) {
            uint8_t expected[SECTOR];
            fill(expected, sector + i);
            if (memcmp(disk.data + SECTOR * i, expected, SECTOR) != 0) fail("sector %" PRIu64 " is not what was written", sector + i);
        }
    }
    device_close(&disk.device);
    printf("%" PRIu64 " sectors of %" PRIu64 " written, read and compared\n", sectors, capacity);
    return 0;
}
