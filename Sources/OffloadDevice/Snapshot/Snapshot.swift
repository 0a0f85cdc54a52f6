import Peripherals
import Simulation
import Virtio

/// Everything about a device at one moment: ``Device/capture(after:)`` makes one, ``Device/restore(_:)`` goes back to it:
/// docs/snapshots.md.
///
/// It is a value: the pages of its memories are shared with other snapshots, and with nothing that changes.
public struct Snapshot: Sendable {
    struct Disk: Sendable {
        var byteCount: UInt64
        /// What is on it. A file of the user's is not copied: of it this is what the device knows, while a recording or a replay runs.
        var contents: MemoryBackend.State?
    }

    /// The machine to which it belongs.
    public let description: MachineDescription
    /// Device time.
    public let cycle: Cycle
    /// What the models have archived.
    package let models: [UInt8]
    /// By ``Device/memories``.
    let memories: [MemoryImage]
    /// By the ``Device/functions`` that are block devices.
    let disks: [Disk]

    /// The same as one of another machine, which differs in where the contents of disks come from.
    func of(_ machine: MachineDescription) -> Snapshot {
        Snapshot(description: machine, cycle: cycle, models: models, memories: memories, disks: disks)
    }

    /// The same with other state of the models, which may be hostile.
    package func with(models: [UInt8]) -> Snapshot {
        Snapshot(description: description, cycle: cycle, models: models, memories: memories, disks: disks)
    }

    /// Bytes of memory that it takes beside another one of the same device, with which it shares what is the same. Disks are left out.
    public func byteCount(beside other: Snapshot) -> Int {
        zip(memories, other.memories).reduce(models.count) { $0 + $1.0.storedPages(notIn: $1.1) * MemoryImage.pageSize }
    }

    /// A checksum of all but memories and disks: equal devices have equal ones.
    public var digest: UInt32 { CRC32C.of(models) }
}
