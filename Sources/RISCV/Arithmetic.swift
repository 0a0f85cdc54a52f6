/// What the M and B extensions compute where Swift has no operator for it.
enum Arithmetic {
    @inline(__always)
    static func rotateRight(_ value: UInt32, _ amount: UInt32) -> UInt32 {
        value &>> amount | value &<< (0 &- amount)
    }

    /// Each byte becomes 0xff unless it is 0.
    @inline(__always)
    static func orCombineBytes(_ value: UInt32) -> UInt32 {
        let low: UInt32 = 0x0101_0101
        var any = value | value &>> 4
        any |= any &>> 2
        any |= any &>> 1
        return (any & low) &* 0xff
    }

    @inline(__always)
    static func multiplyHigh(_ a: Int32, _ b: Int32) -> UInt32 {
        UInt32(truncatingIfNeeded: (Int64(a) &* Int64(b)) &>> 32)
    }

    @inline(__always)
    static func multiplyHigh(_ a: Int32, unsigned b: UInt32) -> UInt32 {
        UInt32(truncatingIfNeeded: (Int64(a) &* Int64(b)) &>> 32)
    }

    @inline(__always)
    static func multiplyHigh(unsigned a: UInt32, _ b: UInt32) -> UInt32 {
        UInt32(truncatingIfNeeded: (UInt64(a) &* UInt64(b)) &>> 32)
    }

    /// Signed quotient: -1 by zero, the dividend where it overflows (Unprivileged Architecture, table 7.1).
    @inline(__always)
    static func divide(_ a: UInt32, _ b: UInt32) -> UInt32 {
        if b == 0 { return .max }
        return UInt32(bitPattern: Int32(bitPattern: a).dividedReportingOverflow(by: Int32(bitPattern: b)).partialValue)
    }

    /// Signed remainder: the dividend by zero, 0 where the quotient overflows.
    @inline(__always)
    static func remainder(_ a: UInt32, _ b: UInt32) -> UInt32 {
        if b == 0 { return a }
        return UInt32(bitPattern: Int32(bitPattern: a).remainderReportingOverflow(dividingBy: Int32(bitPattern: b)).partialValue)
    }

    @inline(__always)
    static func divide(unsigned a: UInt32, _ b: UInt32) -> UInt32 {
        b == 0 ? .max : a / b
    }

    @inline(__always)
    static func remainder(unsigned a: UInt32, _ b: UInt32) -> UInt32 {
        b == 0 ? a : a % b
    }
}
