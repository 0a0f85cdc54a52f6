/// Everything about a device that can differ from one to another. The defaults are the device that `outrigger run` makes
/// without a file. docs/machine.md describes the YAML.
public struct MachineDescription: Sendable, Equatable {
    /// Fabric cycles, and hart cycles, per second.
    public var clockHertz: UInt64 = 1_000_000_000
    public var harts = 2
    /// Cycles of one instruction quantum of a hart.
    public var quantum: UInt64 = 10_000
    public var memory = Memory()
    public var latency = Latency()
    public var link = Link()
    public var medium = Medium()
    public var service = Service()
    public var accelerators = Accelerators()
    public var virtualFunctions = VirtualFunctions()
    /// Transitional virtio block devices beside function 0, each with a number of its own.
    public var physicalFunctions: [PhysicalFunction] = []

    public init() {}

    /// Sizes in bytes.
    public struct Memory: Sendable, Equatable {
        /// What the host shares with the device's DMA.
        public var host: UInt64 = 256 << 20
        public init() {}
    }

    /// In cycles.
    public struct Latency: Sendable, Equatable {
        /// One hop of the fabric.
        public var hop: UInt64 = 2
        /// A register block's answer.
        public var registers: UInt64 = 4
        /// Shared memory, from the harts' side, on top of the cost of an access to SRAM.
        public var sharedMemory: UInt64 = 20
        /// A host access's way over PCIe and back.
        public var pcie: UInt64 = 800
        public init() {}
    }

    /// The link between host and device that all functions' DMA shares.
    public struct Link: Sendable, Equatable {
        /// Bytes per second, each direction.
        public var bandwidth: UInt64 = 1_000_000_000
        /// Cycles.
        public var latency: UInt64 = 500
        public init() {}
    }

    /// What the disks are made of.
    public struct Medium: Sendable, Equatable {
        /// Bytes per second.
        public var bandwidth: UInt64 = 4_000_000_000
        /// Cycles from a request's start to its first byte.
        public var latency: UInt64 = 10_000
        public init() {}
    }

    /// The cores that process requests.
    public struct Service: Sendable, Equatable {
        public var cores = 8
        /// Cycles that each request takes of one.
        public var cost: UInt64 = 1_000
        public init() {}
    }

    /// Slots that the Resource Manager has to give, 0...255 of each kind.
    public struct Accelerators: Sendable, Equatable {
        public var gpu = 0
        public var fpga = 0
        public init() {}
    }

    /// The virtual functions and their disks.
    public struct VirtualFunctions: Sendable, Equatable {
        /// How many there can be (TotalVFs).
        public var total = 64
        /// How many there are after start.
        public var enabled = 4
        /// The disk of those that have no other.
        public var disk = Disk()
        /// Disks by virtual function, 1...total.
        public var disks: [Int: Disk] = [:]
        public init() {}

        /// The disk of virtual function `number`: its own, or the one for all others.
        public func disk(of number: Int) -> Disk { disks[number] ?? disk }
    }

    /// A further physical function of the device.
    public struct PhysicalFunction: Sendable, Equatable {
        /// Its PCI function number, 1...7.
        public var number: Int
        public var disk: Disk
        public init(number: Int, disk: Disk = Disk()) { self.number = number; self.disk = disk }
    }

    /// A block device's medium, as its driver sees it.
    public struct Disk: Sendable, Equatable {
        /// Bytes, a multiple of 512; nil with a file, whose size counts.
        public var size: UInt64? = 1 << 30
        /// nil: in memory.
        public var file: String?
        public var isReadOnly = false
        /// Whether drivers may discard sectors (VIRTIO_BLK_F_DISCARD).
        public var discards = true
        public var queues = 1
        /// Up to 20 characters.
        public var serial: String?
        public init() {}
    }
}
