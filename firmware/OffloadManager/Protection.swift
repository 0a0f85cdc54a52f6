import Hardware

/// What the PMP lets the firmware do, and where (RISC-V privileged architecture 1.12, 3.7).
///
/// One ladder of locked top-of-range entries climbs the whole address space, so that each entry's base is the top of the one before
/// and nothing is left between them: what isn't named here can't be reached, in M mode either. Code can't be written and data can't
/// be executed. The lock goes with a reset of the hart only.
public enum Protection {
    /// Bits R, W, X of pmpcfg.
    public enum Rights: UInt8, Sendable { case none = 0, read = 1, data = 3, code = 5 }

    /// The addresses from the top of the rung before up to this one.
    public struct Rung: Sendable {
        /// First address above the rung, in units of 4 bytes, as pmpaddr has it.
        public var top: UInt32
        public var rights: Rights

        init(_ top: UInt32, _ rights: Rights) { self.top = top >> 2; self.rights = rights }

        /// pmpcfg: locked, top of range.
        var configuration: UInt8 { 0x80 | 1 << 3 | rights.rawValue }
    }

    public static let rungCount = 15

    /// - Parameters:
    ///   - sections: the firmware in SRAM.
    ///   - sharedBytes: size of shared memory.
    public static func ladder(_ sections: Sections, sharedBytes: UInt32) -> InlineArray<15, Rung> {
        let hw = FirmwareBus()
        let aclint = UInt32(hw.aclint.baseAddress)
        let plic = UInt32(hw.plic.baseAddress)
        let blocks = UInt32(hw.uart.baseAddress)
        let shared = UInt32(hw.shared.address)
        return [
            Rung(aclint, .none), Rung(aclint &+ 0x1_0000, .data),
            Rung(plic, .none), Rung(plic &+ 0x40_0000, .data),
            Rung(blocks, .none), Rung(blocks &+ 0xe_0000, .data),
            Rung(shared, .none), Rung(shared &+ sharedBytes, .data),
            Rung(sections.text, .none), Rung(sections.textEnd, .code), Rung(sections.constantsEnd, .read),
            Rung(sections.stackGuard, .data), Rung(sections.stack, .none), Rung(sections.end, .data),
            Rung(.max, .none),
        ]
    }

    /// From here on the ladder holds.
    static func enforce(sharedBytes: UInt32) {
        let ladder = ladder(Hart.sections, sharedBytes: sharedBytes)
        var words = InlineArray<4, UInt32>(repeating: 0)
        for index in 0..<rungCount {
            Hart.setProtectionAddress(index, ladder[index].top)
            words[index >> 2] |= UInt32(ladder[index].configuration) << UInt32(truncatingIfNeeded: (index & 3) * 8)
        }
        Hart.setProtection(words)
    }
}
