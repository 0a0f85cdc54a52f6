// A split virtqueue (2.7): three tables in the driver's memory.
//
//   descriptors   one for each buffer: address, length, whether the device writes it, and the next of its chain
//   available     a ring that the driver writes: the heads of chains that the device may use
//   used          a ring that the device writes: the chains that it is done with, and how much it wrote
//
// Each ring has an index that counts its entries up, modulo 2^16. Nobody waits for a lock: who has put an entry into its ring then moves
// its index, and the other one reads the index before the entry. On a processor that reorders memory accesses that takes barriers.
#include "virtio.h"

#include <errno.h>
#include <stdatomic.h>

struct descriptor {
    uint64_t address;
    uint32_t length;
    uint16_t flags, next;
};
enum { HAS_NEXT = 1, DEVICE_WRITES = 2 };

struct available {
    uint16_t flags, index, entries[];
};

enum { NO_NOTIFICATION = 1 };
struct used {
    uint16_t flags, index;
    struct {
        uint32_t head, written;
    } entries[];
};

void queue_open(struct queue *queue, uint16_t number, uint16_t size, struct memory *memory) {
    *queue = (struct queue){.number = number, .size = size, .free_count = size};
    // A legacy device knows the address of the descriptors only. It expects the available ring behind them, and the used ring on the next
    // page (2.7.2). Others take any place, so this one will do for both.
    size_t available = sizeof(struct descriptor) * size;
    size_t used = (available + sizeof(struct available) + 2u * size + 2 + 4095) & ~(size_t)4095;
    uint8_t *area = memory_take(memory, used + sizeof(struct used) + 8u * size + 2, 4096);
    queue->descriptors = (volatile struct descriptor *)area;
    queue->available = (volatile struct available *)(area + available);
    queue->used = (volatile struct used *)(area + used);
    queue->descriptor_area = memory_address(memory, area);
    queue->driver_area = queue->descriptor_area + available;
    queue->device_area = queue->descriptor_area + used;
    for (uint16_t i = 0; i < size; i++) queue->descriptors[i].next = (uint16_t)(i + 1);
}

int queue_add(struct queue *queue, const struct buffer *buffers, unsigned count) {
    if (count == 0 || count > queue->free_count) return -1;
    uint16_t head = queue->free, index = head;
    for (unsigned i = 0; i < count; i++) {
        volatile struct descriptor *descriptor = &queue->descriptors[index];
        descriptor->address = buffers[i].address;
        descriptor->length = buffers[i].length;
        descriptor->flags = (uint16_t)((buffers[i].device_writes ? DEVICE_WRITES : 0) | (i + 1 < count ? HAS_NEXT : 0));
        index = descriptor->next;
    }
    queue->free = index;
    queue->free_count = (uint16_t)(queue->free_count - count);
    queue->available->entries[queue->offered % queue->size] = head;
    queue->offered++;
    return head;
}

void queue_publish(struct queue *queue) {
    // The device must not see the index before the entries and descriptors (2.7.13.3.1).
    atomic_thread_fence(memory_order_release);
    queue->available->index = queue->offered;
    // The notification that may follow must not overtake the index.
    atomic_thread_fence(memory_order_seq_cst);
}

bool queue_wants_notification(const struct queue *queue) { return !(queue->used->flags & NO_NOTIFICATION); }

int queue_take(struct queue *queue, uint32_t *written) {
    if (queue->used->index == queue->taken) return -1;
    // The entry is read after the index.
    atomic_thread_fence(memory_order_acquire);
    uint32_t head = queue->used->entries[queue->taken % queue->size].head;
    *written = queue->used->entries[queue->taken % queue->size].written;
    queue->taken++;
    errno = 0;
    if (head >= queue->size) fail("queue %u: the device used descriptor %u of %u", queue->number, head, queue->size);
    // The chain's descriptors are free again.
    uint16_t last = (uint16_t)head, count = 1;
    while (queue->descriptors[last].flags & HAS_NEXT) {
        last = queue->descriptors[last].next;
        count++;
    }
    queue->descriptors[last].next = queue->free;
    queue->free = (uint16_t)head;
    queue->free_count = (uint16_t)(queue->free_count + count);
    return (int)head;
}
