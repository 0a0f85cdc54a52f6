// The function: what every virtio driver does first, whatever the device is.
#define _GNU_SOURCE
#include "virtio.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/// The command register of configuration space: answer at the BARs' addresses, and access memory by itself. Without the last bit the device
/// can't read a single descriptor.
enum { COMMAND = 4, IO_SPACE = 1, MEMORY_SPACE = 2, BUS_MASTER = 4, NO_INTX = 1 << 10 };

uint64_t register_read(struct device *device, uint32_t offset, unsigned size) {
    uint64_t value = 0;
    if (pread(device->registers, &value, size, offset) != size) fail("%s: register 0x%x", device->folder, offset);
    return value;
}

void register_write(struct device *device, uint32_t offset, unsigned size, uint64_t value) {
    if (pwrite(device->registers, &value, size, offset) != size) fail("%s: register 0x%x", device->folder, offset);
}

static void master_the_bus(struct device *device) {
    uint16_t command = 0;
    if (pread(device->configuration, &command, 2, COMMAND) != 2) fail("%s/config", device->folder);
    // These programs look for used buffers by themselves and want no interrupt.
    command |= IO_SPACE | MEMORY_SPACE | BUS_MASTER | NO_INTX;
    if (pwrite(device->configuration, &command, 2, COMMAND) != 2) fail("%s/config", device->folder);
}

void device_open(struct device *device, const char *folder, const struct transport *transport, uint64_t wanted) {
    *device = (struct device){.folder = folder, .transport = transport};
    char path[4096];
    snprintf(path, sizeof path, "%s/config", folder);
    device->configuration = open(path, O_RDWR | O_CLOEXEC);
    if (device->configuration < 0) fail("%s", path);
    transport->find(device);
    master_the_bus(device);

    // 3.1.1: reset; then say how far the driver has come, one bit after the other.
    transport->set_status(device, 0);
    while (transport->status(device) != 0) {}
    transport->set_status(device, ACKNOWLEDGE);
    transport->set_status(device, ACKNOWLEDGE | DRIVER);
    device->features = transport->features(device) & wanted;
    transport->set_features(device, device->features);
    // Before virtio 1.0 there was no agreement: the device took what it got (3.1.2).
    if (transport == &legacy) return;
    errno = 0;
    if (!(device->features & FEATURE(VERSION_1))) fail("%s: no device of virtio 1.x", folder);
    transport->set_status(device, ACKNOWLEDGE | DRIVER | FEATURES_OK);
    if (!(transport->status(device) & FEATURES_OK)) fail("%s: the device refuses features 0x%llx", folder,
        (unsigned long long)device->features);
}

void device_start_queue(struct device *device, struct queue *queue, uint16_t number, uint16_t size, struct memory *memory) {
    uint16_t largest = device->transport->queue_size(device, number);
    errno = 0;
    if (largest == 0) fail("%s: no queue %u", device->folder, number);
    // The size of a legacy queue is the device's choice.
    if (device->transport == &legacy || size > largest) size = largest;
    queue_open(queue, number, size, memory);
    device->transport->start_queue(device, queue);
}

void device_start(struct device *device) {
    device->transport->set_status(device, device->transport->status(device) | DRIVER_OK);
}

void device_notify(struct device *device, const struct queue *queue) {
    // 2.7.10: the flag is read after the index was written, as queue_publish sees to.
    if (queue_wants_notification(queue)) device->transport->notify(device, queue);
}

uint64_t device_configuration(struct device *device, uint32_t offset, unsigned size) {
    uint32_t start = device->transport->configuration_offset(device) + offset;
    // Accesses are as wide as the field, but 64 bits are read in two halves (2.5.1, 4.1.3.1).
    if (size < 8) return register_read(device, start, size);
    return register_read(device, start, 4) | register_read(device, start + 4, 4) << 32;
}

void device_close(struct device *device) {
    device->transport->set_status(device, 0);
    while (device->transport->status(device) != 0) {}
    close(device->registers);
    close(device->configuration);
}
