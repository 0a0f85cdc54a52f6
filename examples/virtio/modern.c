// The registers of virtio 1.x (4.1.4): structures in memory BARs, which capabilities in configuration space point to.
//
// vf_bar0.h is generated from the register description; the common structure is at its beginning.
#define _GNU_SOURCE
#include "virtio.h"

#include "../../regmaps/c/vf_bar0.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

/// A vendor-specific capability of virtio (4.1.4), and the types that are used here.
struct capability {
    uint8_t id, next, length, type, bar, padding[3];
    uint32_t offset, bytes;
    /// Of the notification structure alone.
    uint32_t multiplier;
};
enum { VENDOR_SPECIFIC = 9, COMMON = 1, NOTIFICATION = 2, DEVICE_CONFIGURATION = 4 };

/// An access to a register of the common structure, as wide as the register is.
#define COMMON_OFFSET(name) (device->common.offset + (uint32_t)offsetof(virtio_pci_t, name))
#define COMMON_SIZE(name) ((unsigned)sizeof(((virtio_pci_t *)NULL)->name))
#define COMMON_READ(name) register_read(device, COMMON_OFFSET(name), COMMON_SIZE(name))
#define COMMON_WRITE(name, value) register_write(device, COMMON_OFFSET(name), COMMON_SIZE(name), (value))

static void find(struct device *device) {
    int bar = -1;
    uint8_t place = 0;
    pread(device->configuration, &place, 1, 0x34);
    // The list can't be longer than configuration space has room for: a broken one may run in a circle.
    for (int left = 48; place != 0 && left > 0; left--) {
        struct capability found = {0};
        if (pread(device->configuration, &found, sizeof found, place) < (ssize_t)offsetof(struct capability, multiplier)) break;
        struct structure structure = {found.offset, found.bytes};
        if (found.id == VENDOR_SPECIFIC) {
            if (found.type == COMMON) {
                device->common = structure;
                bar = found.bar;
            } else if (found.type == NOTIFICATION) {
                device->notification = structure;
                device->notification_multiplier = found.multiplier;
            } else if (found.type == DEVICE_CONFIGURATION) {
                device->device_configuration = structure;
            }
        }
        place = found.next;
    }
    errno = 0;
    // They may be in different BARs; this device has them all in one.
    if (bar < 0 || device->notification.length == 0) fail("%s: no virtio structures", device->folder);
    char path[4096];
    snprintf(path, sizeof path, "%s/resource%d", device->folder, bar);
    device->registers = open(path, O_RDWR | O_CLOEXEC);
    if (device->registers < 0) fail("%s", path);
}

static uint8_t status(struct device *device) { return (uint8_t)COMMON_READ(DEVICE_STATUS); }
static void set_status(struct device *device, uint8_t status) { COMMON_WRITE(DEVICE_STATUS, status); }

/// Features are a window of 32 bits that a second register moves (4.1.4.3).
static uint64_t features(struct device *device) {
    uint64_t features = 0;
    for (uint32_t word = 0; word < 2; word++) {
        COMMON_WRITE(DEVICE_FEATURE_SELECT, word);
        features |= COMMON_READ(DEVICE_FEATURE) << 32 * word;
    }
    return features;
}

static void set_features(struct device *device, uint64_t features) {
    for (uint32_t word = 0; word < 2; word++) {
        COMMON_WRITE(DRIVER_FEATURE_SELECT, word);
        COMMON_WRITE(DRIVER_FEATURE, (uint32_t)(features >> 32 * word));
    }
}

static uint16_t queue_size(struct device *device, uint16_t number) {
    COMMON_WRITE(QUEUE_SELECT, number);
    return (uint16_t)COMMON_READ(QUEUE_SIZE);
}

static void start_queue(struct device *device, const struct queue *queue) {
    COMMON_WRITE(QUEUE_SELECT, queue->number);
    COMMON_WRITE(QUEUE_SIZE, queue->size);
    // 64 bits in two halves (4.1.3.1).
    const struct { uint32_t offset; uint64_t address; } areas[] = {
        {COMMON_OFFSET(QUEUE_DESC), queue->descriptor_area}, {COMMON_OFFSET(QUEUE_DRIVER), queue->driver_area},
        {COMMON_OFFSET(QUEUE_DEVICE), queue->device_area},
    };
    for (int i = 0; i < 3; i++) {
        register_write(device, areas[i].offset, 4, (uint32_t)areas[i].address);
        register_write(device, areas[i].offset + 4, 4, areas[i].address >> 32);
    }
    COMMON_WRITE(QUEUE_ENABLE, 1);
}

/// Each queue has a place of its own for notifications (4.1.4.4): a doorbell.
static void notify(struct device *device, const struct queue *queue) {
    // This device's are in the order of the queues; QUEUE_NOTIFY_OFF says it for any.
    register_write(device, device->notification.offset + queue->number * device->notification_multiplier, 2, queue->number);
}

static uint32_t configuration_offset(struct device *device) { return device->device_configuration.offset; }

const struct transport modern = {
    find, status, set_status, features, set_features, queue_size, start_queue, notify, configuration_offset,
};
