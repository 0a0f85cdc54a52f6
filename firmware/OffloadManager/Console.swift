import Hardware
import PolicyEngine

/// Short messages on the UART. They wait in a ring that the transmitter's interrupt empties, so that logging never waits for the line.
/// What doesn't fit is dropped, and the next message that fits says so.
public struct Console: ~Copyable {
    private static let capacity = 1024  // A power of two.

    private let uart: UART
    private let ring: Table<UInt8>
    private var head: UInt32 = 0
    private var tail: UInt32 = 0
    private var dropped: UInt32 = 0

    /// 8 data bits, no parity, one stop bit, the fastest divisor, FIFOs on and empty.
    public init(_ uart: UART, in arena: inout Arena) {
        self.uart = uart
        ring = arena.table(of: Self.capacity, repeating: 0)
        uart.lcr = .init(wordLength: 3)
        uart.iirFcr = .init(rawValue: 0b0111)
        uart.ier = .init()
    }

    private var waiting: UInt32 { head &- tail }

    /// One line: a text, and up to two numbers after it.
    public mutating func log(_ text: StaticString, _ first: UInt32? = nil, _ second: UInt32? = nil) {
        guard Self.capacity &- Int(waiting) >= text.utf8CodeUnitCount &+ 48 else {
            dropped = dropped == .max ? .max : dropped &+ 1
            return
        }
        if dropped != 0 {
            put("[dropped lines:")
            put(decimal: dropped)
            put("]\n")
            dropped = 0
        }
        put(text)
        if let first { put(decimal: first) }
        if let second { put(decimal: second) }
        put(10)
        drain()
    }

    /// Gives the transmitter what its FIFO takes, and asks for its interrupt while something is left.
    public mutating func drain() {
        if waiting != 0, uart.lsr.txHoldingEmpty {
            for _ in 0..<min(waiting, 16) {  // The 16550's FIFO.
                uart.data = .init(data: UInt32(ring[Int(tail) & (Self.capacity &- 1)]))
                tail &+= 1
            }
        }
        uart.ier = .init(txEmpty: waiting != 0)
    }

    private mutating func put(_ byte: UInt8) {
        ring[Int(head) & (Self.capacity &- 1)] = byte
        head &+= 1
    }

    private mutating func put(_ text: StaticString) {
        for index in 0..<text.utf8CodeUnitCount { put(text.utf8Start[index]) }
    }

    private mutating func put(decimal number: UInt32) {
        put(32)
        var divisor: UInt32 = 1
        while number / divisor >= 10 { divisor &*= 10 }
        while divisor != 0 {
            put(UInt8(truncatingIfNeeded: 48 &+ number / divisor % 10))
            divisor /= 10
        }
    }
}

extension UART {
    /// Sends a text without interrupts and without a ring: for a firmware that is crashing. Gives up on a line that doesn't move.
    func sendNow(_ text: StaticString) {
        for index in 0..<text.utf8CodeUnitCount { sendNow(text.utf8Start[index]) }
    }

    func sendNow(hexadecimal number: UInt32) {
        for digit in (0..<8 as Range<UInt32>).reversed() {
            let value = UInt8(truncatingIfNeeded: number >> (digit &* 4) & 15)
            sendNow(value < 10 ? 48 &+ value : 87 &+ value)
        }
    }

    private func sendNow(_ byte: UInt8) {
        for _ in 0..<10_000 where lsr.txHoldingEmpty {
            data = .init(data: UInt32(byte))
            return
        }
    }
}
