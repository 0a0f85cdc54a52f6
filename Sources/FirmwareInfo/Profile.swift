/// Cycles by function, out of cycles by call stack.
public struct Profile: Sendable {
    /// Cycles in one place.
    public struct Sample: Sendable {
        public let hart: Int
        public let cycles: UInt64
        /// Program counters, innermost first: the hart's own, then addresses of return. Empty: it waited.
        public let stack: [UInt32]

        public init(hart: Int, cycles: UInt64, stack: [UInt32]) {
            self.hart = hart
            self.cycles = cycles
            self.stack = stack
        }
    }

    public struct Row: Equatable, Sendable {
        public let function: String
        /// Cycles of the function's own code, and of what it called too.
        public internal(set) var exclusive: UInt64 = 0
        public internal(set) var inclusive: UInt64 = 0
    }

    public static let waiting = "(waiting)"

    /// By exclusive cycles, most first.
    public let rows: [Row]
    /// Cycles by stack, outermost function first, behind the hart: `hart0;offload_main;OffloadManager.pass()`. By stack.
    public let stacks: [(stack: [String], cycles: UInt64)]
    /// Of all harts, waiting included.
    public let total: UInt64

    /// - Parameter inlined: calls that the compiler inlined count as calls.
    public init(_ samples: [Sample], _ information: DebugInformation, inlined: Bool = false) {
        var rows: [String: Row] = [:], stacks: [String: (stack: [String], cycles: UInt64)] = [:]
        var names: [UInt64: [String]] = [:]
        var total: UInt64 = 0
        for sample in samples where sample.cycles > 0 {
            var functions: [String] = sample.stack.isEmpty ? [Self.waiting] : []
            for (depth, pc) in sample.stack.enumerated() {
                let lookup = depth == 0 ? pc : pc &- 1
                let key = UInt64(pc) << 1 | (depth == 0 ? 0 : 1)
                if names[key] == nil {
                    let frames = information.frames(at: pc, lookup: lookup)
                    names[key] = frames.filter { inlined || !$0.isInlined }.map { $0.function ?? "(no function)" }
                }
                functions += names[key] ?? []
            }
            total &+= sample.cycles
            for (place, function) in functions.enumerated() {
                // A function that calls itself is counted once.
                guard functions[..<place].allSatisfy({ $0 != function }) else { continue }
                rows[function, default: Row(function: function)].inclusive &+= sample.cycles
            }
            if let function = functions.first { rows[function, default: Row(function: function)].exclusive &+= sample.cycles }
            let stack = ["hart\(sample.hart)"] + functions.reversed()
            stacks[stack.joined(separator: ";"), default: (stack, 0)].cycles &+= sample.cycles
        }
        self.total = total
        self.rows = rows.values.sorted { ($1.exclusive, $1.inclusive, $0.function) < ($0.exclusive, $0.inclusive, $1.function) }
        self.stacks = stacks.sorted { $0.key < $1.key }.map(\.value)
    }
}
