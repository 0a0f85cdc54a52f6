// Frames per second of a driver in user space that polls: net_client FROM TO FRAMES DEPTH sends frames of 64 bytes by one function and
// receives them by another, or by the same one if its wire leads back, DEPTH of them at a time. Prints how many came, the seconds that they
// took, and the notifications. The driver is that of examples/virtio: split rings in a huge page, by physical addresses.
#define _GNU_SOURCE
#include "../../examples/virtio/virtio.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { RECEIVE = 0, TRANSMIT = 1, FEATURE_MAC = 5 };
enum { SIZE = 256, BUFFER = 2048, HEADER = 12, FRAME = 64 };

struct port {
    struct memory memory;
    struct device device;
    struct queue receive, transmit;
    uint8_t *buffers, mac[6];
    uint64_t notifications;
};

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

static void publish(struct port *port, struct queue *queue) {
    queue_publish(queue);
    port->notifications += queue_wants_notification(queue);
    device_notify(&port->device, queue);
}

static struct port *open_port(const char *folder) {
    struct port *port = calloc(1, sizeof *port);
    memory_open(&port->memory);
    device_open(&port->device, folder, &modern, FEATURE(VERSION_1) | FEATURE(FEATURE_MAC));
    device_start_queue(&port->device, &port->receive, RECEIVE, SIZE, &port->memory);
    device_start_queue(&port->device, &port->transmit, TRANSMIT, SIZE, &port->memory);
    for (uint32_t i = 0; i < 6; i++) port->mac[i] = (uint8_t)device_configuration(&port->device, i, 1);
    port->buffers = memory_take(&port->memory, (size_t)BUFFER * SIZE, 64);
    for (uint32_t i = 0; i < port->receive.size; i++) {
        queue_add(&port->receive, &(struct buffer){memory_address(&port->memory, port->buffers + BUFFER * i), BUFFER, true}, 1);
    }
    queue_publish(&port->receive);
    device_start(&port->device);
    return port;
}

/// Takes back what has been sent, and sends frames that all are in one place: nobody changes them.
static void send(struct port *port, uint64_t frame, uint64_t count) {
    uint32_t written;
    while (queue_take(&port->transmit, &written) >= 0) {}
    for (uint64_t i = 0; i < count; i++) {
        if (queue_add(&port->transmit, &(struct buffer){frame, HEADER + FRAME, false}, 1) < 0) fail("the transmit queue is full");
    }
    publish(port, &port->transmit);
}

static uint64_t make_frame(struct port *port, const uint8_t *destination) {
    uint8_t *frame = memory_take(&port->memory, HEADER + FRAME, 64);
    memcpy(frame + HEADER, destination, 6);
    memcpy(frame + HEADER + 6, port->mac, 6);
    // An EtherType for experiments.
    memcpy(frame + HEADER + 12, "\x88\xb5", 2);
    return memory_address(&port->memory, frame);
}

/// How many frames have come; their buffers go back to the device.
static uint64_t receive(struct port *port) {
    uint64_t count = 0;
    uint32_t written;
    int head;
    while ((head = queue_take(&port->receive, &written)) >= 0) {
        if (written != HEADER + FRAME) fail("a frame of %u bytes came, %u expected", written, HEADER + FRAME);
        // The descriptor that was freed last is the next that is used: this one, with the same buffer.
        queue_add(&port->receive, &(struct buffer){memory_address(&port->memory, port->buffers + BUFFER * head), BUFFER, true}, 1);
        count++;
    }
    if (count) publish(port, &port->receive);
    return count;
}

int main(int count, char **arguments) {
    if (count != 5) fail("usage: net_client FROM TO FRAMES DEPTH");
    uint64_t frames = strtoull(arguments[3], NULL, 0), depth = strtoull(arguments[4], NULL, 0);
    if (depth == 0 || depth > SIZE / 2) fail("DEPTH: 1 to %d expected", SIZE / 2);
    struct port *from = open_port(arguments[1]);
    struct port *to = strcmp(arguments[1], arguments[2]) == 0 ? from : open_port(arguments[2]);
    if (to != from) {
        // A switch learns where the receiver is.
        send(to, make_frame(to, from->mac), 1);
        while (receive(from) == 0) {}
    }
    uint64_t frame = make_frame(from, to->mac), done = 0;
    // What comes first isn't counted: memory and queues are met for the first time.
    uint64_t unmeasured = frames / 10;
    double start = now();
    send(from, frame, depth);
    while (done < frames + unmeasured) {
        uint64_t arrived = receive(to);
        if (arrived == 0) continue;
        if (done < unmeasured && done + arrived >= unmeasured) start = now();
        done += arrived;
        send(from, frame, arrived);
    }
    double seconds = now() - start;
    uint64_t notifications = from->notifications + (to == from ? 0 : to->notifications);
    printf("%" PRIu64 " %.6f %" PRIu64 "\n", done - unmeasured, seconds, notifications);
    device_close(&from->device);
    if (to != from) device_close(&to->device);
    return 0;
}
