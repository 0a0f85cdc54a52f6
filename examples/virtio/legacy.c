// The registers from before virtio 1.0 (4.1.4.10), in the I/O space of BAR0. Transitional devices have them beside the modern ones.
//
// There is little to choose: the device says how large a queue is, the driver says on which page it begins, and the rings follow the
// descriptors. The number of the page has 32 bits, so queues must be in the first 16 TiB: physical addresses are, virtual ones are not.
#define _GNU_SOURCE
#include "virtio.h"

#include "../../regmaps/c/tf_bar0.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>

#define OFFSET(name) ((uint32_t)offsetof(virtio_legacy_t, name))
#define SIZE(name) ((unsigned)sizeof(((virtio_legacy_t *)NULL)->name))
#define READ(name) register_read(device, OFFSET(name), SIZE(name))
#define WRITE(name, value) register_write(device, OFFSET(name), SIZE(name), (value))

static void find(struct device *device) {
    char path[4096];
    snprintf(path, sizeof path, "%s/resource0", device->folder);
    device->registers = open(path, O_RDWR | O_CLOEXEC);
    if (device->registers < 0) fail("%s", path);
}

static uint8_t status(struct device *device) { return (uint8_t)READ(DEVICE_STATUS); }
static void set_status(struct device *device, uint8_t status) { WRITE(DEVICE_STATUS, status); }
static uint64_t features(struct device *device) { return READ(DEVICE_FEATURES); }
static void set_features(struct device *device, uint64_t features) { WRITE(DRIVER_FEATURES, (uint32_t)features); }

static uint16_t queue_size(struct device *device, uint16_t number) {
    WRITE(QUEUE_SELECT, number);
    return (uint16_t)READ(QUEUE_SIZE);
}

static void start_queue(struct device *device, const struct queue *queue) {
    errno = 0;
    if (queue->descriptor_area >> 44) fail("queue %u: address 0x%llx is beyond a legacy device's", queue->number,
        (unsigned long long)queue->descriptor_area);
    WRITE(QUEUE_SELECT, queue->number);
    WRITE(QUEUE_ADDRESS, queue->descriptor_area >> 12);
}

static void notify(struct device *device, const struct queue *queue) { WRITE(QUEUE_NOTIFY, queue->number); }

/// Behind the common registers, but 4 bytes further on while MSI-X is enabled, which it isn't here.
static uint32_t configuration_offset(struct device *device) {
    (void)device;
    return OFFSET(DEVICE_CONFIG);
}

const struct transport legacy = {
    find, status, set_status, features, set_features, queue_size, start_queue, notify, configuration_offset,
};
