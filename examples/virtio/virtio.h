// A virtio driver in user space, in five short files. Read them in this order:
//
//   pci.c      the function: its configuration space, its registers, bus mastering
//   memory.c   memory that the device reaches: a huge page, and its physical address
//   queue.c    a split virtqueue: how driver and device hand each other buffers
//   modern.c   how the queues are set up by the registers of virtio 1.x
//   legacy.c   the same by the I/O registers from before virtio 1.0
//
// net.c and block.c are programs on top. Section numbers are those of the virtio specification 1.2.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/// Says what went wrong, as printf does, with errno's text if errno isn't 0; ends the program.
_Noreturn void fail(const char *format, ...) __attribute__((format(printf, 1, 2)));

// MARK: memory.c

/// A huge page: 2 MiB that are contiguous in physical memory, too, and stay where they are.
struct memory {
    uint8_t *bytes;
    /// What the device calls the first byte.
    uint64_t physical;
    size_t used;
};

void memory_open(struct memory *memory);
/// Zeroed bytes, aligned to a power of two. They are never given back.
void *memory_take(struct memory *memory, size_t count, size_t alignment);
/// What the device calls a byte of it.
uint64_t memory_address(const struct memory *memory, const void *place);

// MARK: queue.c

/// A buffer for the device: it reads it, or writes it.
struct buffer {
    uint64_t address;
    uint32_t length;
    bool device_writes;
};

/// The driver's side of a split virtqueue (2.7).
struct queue {
    uint16_t number, size;
    /// The three areas, in memory that the device reaches.
    volatile struct descriptor *descriptors;
    volatile struct available *available;
    volatile struct used *used;
    /// The same, as the device addresses them.
    uint64_t descriptor_area, driver_area, device_area;

    /// Descriptors that nobody uses: the first, and a chain of the others by `next`.
    uint16_t free, free_count;
    /// Entries that were made available, and used ones that were taken: both count up and wrap around.
    uint16_t offered, taken;
};

/// Lays a queue out. `size` is a power of two.
void queue_open(struct queue *queue, uint16_t number, uint16_t size, struct memory *memory);
/// Makes one chain of buffers available; those that the device reads come first. Returns what it is known by when it comes back, or -1 if
/// too few descriptors are free. The device learns of it by `queue_publish`.
int queue_add(struct queue *queue, const struct buffer *buffers, unsigned count);
void queue_publish(struct queue *queue);
/// Whether the device wants to hear of what was published. While it looks at the queue by itself it doesn't.
bool queue_wants_notification(const struct queue *queue);
/// Takes the next chain that the device has used. Returns what it is known by, or -1 if there is none; `written` are the bytes that the
/// device wrote into it.
int queue_take(struct queue *queue, uint32_t *written);

// MARK: pci.c

/// Where a structure of registers is (4.1.4).
struct structure {
    uint32_t offset, length;
};

/// A virtio function.
struct device {
    /// Its folder: /sys/bus/pci/devices/0000:01:00.1, below the mount point.
    const char *folder;
    /// Open files: configuration space, and the BAR that has the registers.
    int configuration, registers;
    const struct transport *transport;
    /// Of the modern registers.
    struct structure common, notification, device_configuration;
    uint32_t notification_multiplier;
    /// What driver and device have agreed on.
    uint64_t features;
};

/// What the two kinds of registers do in ways of their own.
struct transport {
    void (*find)(struct device *device);
    uint8_t (*status)(struct device *device);
    void (*set_status)(struct device *device, uint8_t status);
    uint64_t (*features)(struct device *device);
    void (*set_features)(struct device *device, uint64_t features);
    /// The largest size of a queue, 0: there is none.
    uint16_t (*queue_size)(struct device *device, uint16_t number);
    void (*start_queue)(struct device *device, const struct queue *queue);
    void (*notify)(struct device *device, const struct queue *queue);
    /// Where a byte of the device's own configuration is in the BAR.
    uint32_t (*configuration_offset)(struct device *device);
};

extern const struct transport modern, legacy;

/// Opens a function and resets it, then agrees on those of `wanted` features that it offers (3.1.1, steps 1 to 6).
void device_open(struct device *device, const char *folder, const struct transport *transport, uint64_t wanted);
/// Makes a queue of at most `size` entries, and tells the device (step 7).
void device_start_queue(struct device *device, struct queue *queue, uint16_t number, uint16_t size, struct memory *memory);
/// The device may use its queues from now on (step 8).
void device_start(struct device *device);
/// Tells the device to look at a queue, if it wants to be told.
void device_notify(struct device *device, const struct queue *queue);
/// Reads a field of the device's own configuration: `size` is 1, 2, 4 or 8.
uint64_t device_configuration(struct device *device, uint32_t offset, unsigned size);
/// Resets the device: it lets go of the driver's memory.
void device_close(struct device *device);

/// One access to a register, of exactly this size.
uint64_t register_read(struct device *device, uint32_t offset, unsigned size);
void register_write(struct device *device, uint32_t offset, unsigned size, uint64_t value);

enum status { ACKNOWLEDGE = 1, DRIVER = 2, DRIVER_OK = 4, FEATURES_OK = 8, NEEDS_RESET = 64 };

#define FEATURE(bit) (UINT64_C(1) << (bit))
enum { VERSION_1 = 32 };
