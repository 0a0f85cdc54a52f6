/// Numbers on a logarithmic scale: *levels* are log2 in 1/2048 (Q5.11), 0...65,535.
///
/// Demand spans orders of magnitude, and what matters of a forecast is by what factor it errs; so everything here that predicts works on
/// levels. Polynomials on the fraction stand in for tables: three multiplications, and no error above 1/4000 of an octave.
public enum Level {
    /// Of one octave.
    public static let one: Int32 = 2048
    public static let highest: Int32 = 65_535

    /// log2(1 + amount / 2^unit): 0 for nothing, about proportional below one unit, logarithmic above it.
    public static func of(_ amount: UInt64, unit: UInt32 = 0) -> Int32 {
        let offset = UInt64(1) &<< UInt64(unit)
        let (sum, overflow) = amount.addingReportingOverflow(offset)
        let number = overflow ? .max : sum
        let whole = 63 &- Int32(truncatingIfNeeded: number.leadingZeroBitCount)
        // The 16 bits below the leading one.
        let fraction = UInt32(truncatingIfNeeded: whole >= 16 ? number &>> UInt64(whole &- 16) : number &<< UInt64(16 &- whole)) & 0xffff
        let logarithm = fraction &+ (bump(fraction) &>> 16)
        return min(((whole &- Int32(unit)) &<< 11) &+ Int32(truncatingIfNeeded: (logarithm &+ 16) &>> 5), highest)
    }

    /// log2(1 + f) - f for a fraction of 2^16, in 1/2^32: f (1 - f) (0.43873 - 0.23906 f + 0.08213 f^2).
    private static func bump(_ f: UInt32) -> UInt32 {
        let slope = 28_752 &- ((f &* (15_667 &- ((f &* 5382) &>> 16))) &>> 16)
        return ((f &* (0x1_0000 &- f)) &>> 16) &* slope
    }

    /// The inverse of `of`, to within 1/1000; saturates.
    public static func amount(_ level: Int32, unit: UInt32 = 0) -> UInt64 {
        guard level > 0 else { return 0 }
        let whole = UInt64(level &>> 11) &+ UInt64(unit)
        guard whole < 48 else { return .max }
        let f = UInt32(level & 2047) &<< 5
        // 2^f - 1 - f = -f (1 - f) (0.30407 + 0.07913 f).
        let power = 0x1_0000 &+ f &- ((((f &* (0x1_0000 &- f)) &>> 16) &* (19_928 &+ ((f &* 5186) &>> 16))) &>> 16)
        let number = (UInt64(power) &<< whole) &+ 0x8000
        return (number &>> 16) &- min(1 &<< UInt64(unit), number &>> 16)
    }

    /// 2^-level in 1/65536.
    static func inversePower(_ level: UInt32) -> UInt32 {
        let whole = level &>> 11
        guard whole < 17 else { return 0 }
        let f = (level & 2047) &<< 5
        // 2^-f = 1 - f/2 - f (1 - f) (0.19168 - 0.03962 f).
        let bend = (((f &* (0x1_0000 &- f)) &>> 16) &* (12_562 &- ((f &* 2597) &>> 16))) &>> 16
        return (0x1_0000 &- (f &>> 1) &- bend) &>> whole
    }
}
