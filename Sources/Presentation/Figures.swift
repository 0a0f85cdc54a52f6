// How figures are spelt.

extension String {
    /// Padded to a column's width.
    public func column(_ width: Int, right: Bool = false) -> String {
        let missing = String(repeating: " ", count: max(0, width - count))
        return right ? missing + self : self + missing
    }

    /// Exactly so many columns, of printable ASCII: what a device or a file says is not trusted to leave a terminal alone.
    public func cut(_ width: Int, right: Bool = false) -> String {
        let text = String(map { $0.isASCII && ($0.asciiValue ?? 0) >= 32 && $0 != "\u{7f}" ? $0 : "?" })
        guard text.count > width else { return text.column(width, right: right) }
        return String(text.prefix(max(width - 1, 0))) + (width > 0 ? ">" : "")
    }
}

/// A count of bytes with its binary prefix: `1.4 GiB`.
public func bytes(_ count: some BinaryInteger) -> String {
    var value = Double(count), unit = 0
    while value >= 1024, unit < 4 {
        value /= 1024
        unit += 1
    }
    return (unit == 0 ? "\(Int(value))" : decimal(value, 1)) + " " + ["B", "KiB", "MiB", "GiB", "TiB"][unit]
}

/// A number in at most five characters, with its decimal prefix: `983`, `12.3k`, `4.0G`.
public func short(_ value: Double) -> String {
    guard value.isFinite, value >= 0 else { return "-" }
    var value = value, unit = 0
    while value >= 999.5, unit < 5 {
        value /= 1000
        unit += 1
    }
    let digits = unit == 0 ? (value < 9.95 && value > 0 ? 1 : 0) : (value < 99.95 ? 1 : 0)
    return decimal(value, digits) + ["", "k", "M", "G", "T", "P"][unit]
}

/// A number with so many digits after the point.
public func decimal(_ value: Double, _ digits: Int) -> String {
    var scale = 1.0
    for _ in 0..<digits { scale *= 10 }
    guard abs(value) * scale < 9e18 else { return "\(value)" }
    let scaled = Int64((value * scale).rounded()), whole = abs(scaled) / Int64(scale), rest = abs(scaled) % Int64(scale)
    let sign = scaled < 0 ? "-" : ""
    guard digits > 0 else { return sign + "\(whole)" }
    return sign + "\(whole)." + String(repeating: "0", count: digits - "\(rest)".count) + "\(rest)"
}

/// Nanoseconds in the unit that suits them.
public func duration(_ nanoseconds: Double) -> String {
    switch nanoseconds {
    case ..<1000: decimal(nanoseconds, 0) + " ns"
    case ..<1e6: decimal(nanoseconds / 1e3, 1) + " us"
    case ..<1e9: decimal(nanoseconds / 1e6, 1) + " ms"
    default: decimal(nanoseconds / 1e9, 2) + " s"
    }
}

/// Thousandths as a percentage: `12.5%`.
public func percent(_ permille: some BinaryInteger) -> String { decimal(Double(permille) / 10, 1) + "%" }
