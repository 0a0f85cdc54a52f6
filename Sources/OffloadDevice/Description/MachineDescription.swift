import Interconnect
import Virtio

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
    public var wire = Wire()
    public var service = Service()
    public var accelerators = Accelerators()
    public var virtualFunctions = VirtualFunctions()
    /// Transitional virtio devices beside function 0, each with a number of its own.
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
        /// Cycles that each network frame takes of one.
        public var packetCost: UInt64 = 100
        /// How long an empty queue of a network function is polled before its doorbell is waited for, and how often, in cycles.
        public var polling: UInt64 = 0
        public var pollInterval: UInt64 = 1000
        public init() {}
    }

    /// Slots that the Resource Manager has to give, 0...255 of each kind.
    public struct Accelerators: Sendable, Equatable {
        public var gpu = 0
        public var fpga = 0
        /// Cycles that it takes to load a slot for another owner.
        public var gpuLoading: UInt64 = 20_000
        public var fpgaLoading: UInt64 = 1_000_000
        public init() {}
    }

    /// The wires of network functions, each with a bandwidth of its own.
    public struct Wire: Sendable, Equatable {
        /// Bytes per second, each direction.
        public var bandwidth: UInt64 = 3_125_000_000
        /// Cycles.
        public var latency: UInt64 = 1_000
        public init() {}
    }

    /// What a virtio function is.
    public enum FunctionKind: String, Sendable, CaseIterable {
        case block, net, console
    }

    /// A function's virtio device; only the settings of its kind matter.
    public struct FunctionSettings: Sendable, Equatable {
        public var kind = FunctionKind.block
        public var disk = Disk()
        public var network = Network()
        public var console = Console()
        /// Whether it offers packed rings.
        public var hasPackedRings = true
        /// Whether a physical function has the modern interface beside the legacy one.
        public var isModern = true
        public init() {}
    }

    /// The virtual functions, all of one kind: the SR-IOV capability has one device id for them.
    public struct VirtualFunctions: Sendable, Equatable {
        /// How many there can be (TotalVFs).
        public var total = 64
        /// How many there are after start.
        public var enabled = 4
        public var kind = FunctionKind.block
        /// The disk of those that have no other.
        public var disk = Disk()
        /// Disks by virtual function, 1...total.
        public var disks: [Int: Disk] = [:]
        /// The network of those that have no other.
        public var network = Network()
        /// Networks by virtual function, 1...total.
        public var networks: [Int: Network] = [:]
        public var console = Console()
        public init() {}

        /// The device of virtual function `number`: its own settings, or those for all others.
        public func settings(of number: Int) -> FunctionSettings {
            var settings = FunctionSettings()
            settings.kind = kind
            settings.disk = disks[number] ?? disk
            settings.network = networks[number] ?? network
            settings.console = console
            return settings
        }
    }

    /// A further physical function of the device.
    public struct PhysicalFunction: Sendable, Equatable {
        /// Its PCI function number, 1...7.
        public var number: Int
        public var settings = FunctionSettings()
        public var disk: Disk {
            get { settings.disk }
            set { settings.disk = newValue }
        }

        public init(number: Int, disk: Disk = Disk()) {
            self.number = number
            settings.disk = disk
        }

        public init(number: Int, settings: FunctionSettings) {
            self.number = number
            self.settings = settings
        }
    }

    /// A network device and what is at the end of its wire.
    public struct Network: Sendable, Equatable {
        public enum Backend: Sendable, Equatable {
            /// Every frame comes back.
            case loop
            /// The device's own switch, to which all functions with this backend are connected.
            case `switch`
            /// Capture files: what is received, and where what is sent goes.
            case capture(input: String?, output: String?)
            /// A TAP interface of the host.
            case tap(String)
        }
        public var backend = Backend.loop
        /// nil: one of the device's own, by the function's index.
        public var mac: MACAddress?
        /// Pairs of queues.
        public var queues = 1
        public var mtu = 1500
        public init() {}
    }

    /// A console and its screen.
    public struct Console: Sendable, Equatable {
        public var columns = 80
        public var rows = 25
        public init() {}
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
        /// The accelerator through which its data passes, and slot cycles for 4 KiB.
        public var transform: AcceleratorType?
        public var transformCost: UInt64 = 4_000
        public init() {}
    }
}
