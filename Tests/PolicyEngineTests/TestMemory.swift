import AdminProtocol
import PolicyEngine

/// Memory for an engine, or a part of one, as much as the firmware has.
final class TestMemory {
    private let bytes = UnsafeMutableRawBufferPointer.allocate(byteCount: 576 * 1024, alignment: 8)

    /// All of it, anew.
    var arena: Arena { Arena(bytes) }

    deinit { bytes.deallocate() }
}

extension Instruction {
    typealias A = Arithmetic
    typealias J = Jump

    static func operation(
        _ operation: UInt8, _ destination: Int, _ immediate: Int32, class group: UInt8 = Class.arithmetic, offset: Int16 = 0
    ) -> Instruction {
        Instruction(opcode: group | operation, registers: UInt8(destination), offset: offset, immediate: immediate)
    }

    static func operation(
        _ operation: UInt8, _ destination: Int, register source: Int, class group: UInt8 = Class.arithmetic, offset: Int16 = 0
    ) -> Instruction {
        Instruction(opcode: group | operation | 8, registers: UInt8(destination | source << 4), offset: offset)
    }

    static func move(_ destination: Int, _ immediate: Int32) -> Instruction { operation(A.move, destination, immediate) }
    static func move(_ destination: Int, register source: Int) -> Instruction { operation(A.move, destination, register: source) }
    static func jump(_ operation: UInt8, _ left: Int, _ immediate: Int32, by distance: Int16) -> Instruction {
        .operation(operation, left, immediate, class: Class.jump, offset: distance)
    }
    static func jump(by distance: Int16) -> Instruction { .operation(J.always, 0, 0, class: Class.jump, offset: distance) }

    private static func size(_ bytes: Int) -> UInt8 { bytes == 8 ? 0x18 : bytes == 4 ? 0 : bytes == 2 ? 0x08 : 0x10 }

    static func load(_ destination: Int, from source: Int, _ offset: Int16, bytes: Int = 4, mode: UInt8 = Mode.memory) -> Instruction {
        Instruction(opcode: Class.loadRegister | size(bytes) | mode, registers: UInt8(destination | source << 4), offset: offset)
    }
    static func store(_ source: Int, to destination: Int, _ offset: Int16, bytes: Int = 4) -> Instruction {
        Instruction(opcode: Class.storeRegister | size(bytes) | Mode.memory, registers: UInt8(destination | source << 4), offset: offset)
    }
    static func store(constant: Int32, to destination: Int, _ offset: Int16, bytes: Int = 4) -> Instruction {
        Instruction(
            opcode: Class.store | size(bytes) | Mode.memory, registers: UInt8(destination), offset: offset, immediate: constant)
    }
    static func wide(_ destination: Int, _ value: UInt64) -> [Instruction] {
        [
            Instruction(opcode: wide, registers: UInt8(destination), immediate: Int32(truncatingIfNeeded: value)),
            Instruction(immediate: Int32(truncatingIfNeeded: value >> 32)),
        ]
    }
    static var exit: Instruction { Instruction(opcode: Class.jump | J.exit) }

    /// As it lies in a file.
    var bytes: [UInt8] { withUnsafeBytes(of: self) { Array($0) } }
}

/// A verifier, an interpreter, and the memory that programs see.
final class Laboratory {
    private let memory = TestMemory()
    private var verifier: Verifier
    private var interpreter: Interpreter
    let context = UnsafeMutablePointer<UInt32>.allocate(capacity: PolicyContext.wordCount)
    let own = UnsafeMutablePointer<UInt32>.allocate(capacity: 16)
    let shared = UnsafeMutablePointer<UInt32>.allocate(capacity: 16)

    init() {
        var arena = memory.arena
        verifier = Verifier(in: &arena)
        interpreter = Interpreter(in: &arena)
        for word in 0..<PolicyContext.wordCount { context[word] = UInt32(word) }
        own.initialize(repeating: 0, count: 16)
        shared.initialize(repeating: 0, count: 16)
    }

    deinit {
        context.deallocate()
        own.deallocate()
        shared.deallocate()
    }

    func verify(_ program: [Instruction]) -> PolicyRefusal? {
        program.withUnsafeBufferPointer { verifier.verify($0.baseAddress!, count: $0.count) }
    }

    func run(_ program: [Instruction], budget: UInt32 = 10_000) -> Interpreter.Fault {
        interpreter.budget = budget
        return program.withUnsafeBufferPointer {
            interpreter.run($0.baseAddress!, count: $0.count, context: context, own: own, shared: shared)
        }
    }

    var place: Int { interpreter.place }
}
