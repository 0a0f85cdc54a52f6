import Hardware

/// A trap's registers, as the start-up code's handler leaves them.
public struct FaultFrame {
    /// x0...x31, then mcause, mepc, mtval, mstatus.
    private let words: UnsafePointer<UInt32>

    public init(_ words: UnsafePointer<UInt32>) { self.words = words }

    func x(_ number: Int) -> UInt32 { words[number] }
    var cause: UInt32 { words[32] }
    var pc: UInt32 { words[33] }
    var address: UInt32 { words[34] }
    var status: UInt32 { words[35] }

    /// What the trap means.
    /// - Parameter hasMemoryError: an ECC error that could not be corrected is on record.
    func kind(hasMemoryError: Bool) -> MAILBOX.FaultKind {
        switch cause {
        case 0x8000_000b: .watchdog  // The only interrupt that is taken.
        case 3: .panic  // ebreak: Hart.stop, and the stack protector.
        // Swift's own checks end in the instruction that is illegal for good (unimp); mtval holds it, or 0.
        case 2 where address == 0 || address & 0xffff == 0 || address == 0xc000_1073: .panic
        case 1, 5, 7: hasMemoryError ? .memory : .trap
        default: .trap
        }
    }

    /// Puts the fault record where the host reads it, if none stands there already, and says so on the console.
    public func report(to hw: FirmwareBus) {
        let mailbox = hw.mailbox
        let ecc = hw.sysctl.eccStatus
        let kind = kind(hasMemoryError: ecc.valid && ecc.uncorrected)
        mailbox.faultCause = .init(value: cause)
        mailbox.faultPc = .init(value: pc)
        mailbox.faultAddress = .init(value: address)
        mailbox.faultStatus = .init(value: status)
        for number in 0..<32 { mailbox.faultX[number] = .init(value: x(number)) }
        mailbox.write(MAILBOX.FAULT(valid: true, hart: 0, kind: kind))
        mailbox.firmware = .init(state: .fault)
        hw.uart.sendNow("\nfault: cause ")
        hw.uart.sendNow(hexadecimal: cause)
        hw.uart.sendNow(" pc ")
        hw.uart.sendNow(hexadecimal: pc)
        hw.uart.sendNow(" address ")
        hw.uart.sendNow(hexadecimal: address)
        hw.uart.sendNow("\n")
    }
}
