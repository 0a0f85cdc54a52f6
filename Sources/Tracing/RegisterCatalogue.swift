import Registers

/// Numbers every register of every bus, so that a trace can name one in two bytes.
public struct RegisterCatalogue: Sendable {
    /// A register on one of the buses.
    public struct Entry: Sendable {
        /// `WA.VM.READS`: the block's instance name and the register's, without indices.
        public let name: String
        public let register: RegisterDescription
        /// On its bus, of element 0.
        public let address: UInt64
    }

    public let entries: [Entry]
    /// For each bus the number of each block's first register.
    private let first: [[UInt16]]

    /// - Parameter buses: in the order by which ``identifier(bus:block:register:)`` counts them.
    public init(_ buses: [BusMap]) {
        var entries: [Entry] = [], first: [[UInt16]] = []
        for bus in buses {
            var firstOfBlocks: [UInt16] = []
            for block in bus.blocks {
                firstOfBlocks.append(UInt16(entries.count))
                for register in block.map.registers {
                    entries.append(Entry(name: "\(block.name).\(register.name)", register: register, address: block.base + register.offset))
                }
            }
            first.append(firstOfBlocks)
        }
        precondition(entries.count < 0xffff, "the trace numbers registers in two bytes")
        self.entries = entries
        self.first = first
    }

    /// The number of the first register of a block; those of its other registers follow in the order of the block's map.
    public func identifier(bus: Int, block: Int) -> UInt16 { first[bus][block] }

    public func entry(named name: String) -> Entry? { entries.first { $0.name == name } }
}
