import Virtio

/// What a vhost-user front-end does to the function that it has: docs/vhost-user.md.
public enum FrontEndInput: Hashable, Sendable {
    /// Takes the function, which is reset and has no memory but the front-end's from now on.
    case attach
    /// Lets it go. It is as after a reset.
    case detach
    /// Begins anew, with these features of the driver's.
    case accept(Features)
    /// This is all the memory there is, from now on.
    case map([FrontEndMemory])
    /// A queue starts. Addresses are those of the memory's pieces.
    case start(queue: Int, QueueLayout, QueueStart)
    /// Nothing more is taken from a queue.
    case pause(queue: Int)
    /// A queue stops; the outcome is the next entry of its available ring.
    case stop(queue: Int)
    /// The driver has made chains available.
    case kick(queue: Int)
    case writeConfiguration(offset: Int, [UInt8])
    /// The driver resets the device.
    case reset
}

/// A piece of a front-end's memory.
public struct FrontEndMemory: Hashable, Sendable {
    /// Tells the piece from others of the same front-end, 0...255.
    public var slot: Int
    /// The driver's address of its first byte.
    public var address: UInt64
    public var count: UInt64
    /// The memory; in a replay there is none.
    public var pages: GuestPages?

    public init(slot: Int, address: UInt64, count: UInt64, pages: GuestPages?) {
        self.slot = slot; self.address = address; self.count = count; self.pages = pages
    }
}
