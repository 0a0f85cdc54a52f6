// Text from traces is not trusted: a driver or the firmware may have put anything into it.

/// The text without what would do something to a terminal or reorder a line: control and formatting characters are shown as `\u{1b}`.
func printable(_ text: String) -> String {
    guard text.unicodeScalars.contains(where: isHostile) else { return text }
    var safe = ""
    for scalar in text.unicodeScalars {
        if isHostile(scalar) { safe += "\\u{\(hex(scalar.value))}" } else { safe.unicodeScalars.append(scalar) }
    }
    return safe
}

private func isHostile(_ scalar: Unicode.Scalar) -> Bool {
    switch scalar.value {
    case 0x20...0x7e: false
    // C0, DEL and C1 controls; marks, separators and overrides of direction.
    case 0..<0x20, 0x7f..<0xa0, 0x200b...0x200f, 0x2028...0x202e, 0x2060...0x206f, 0xfeff: true
    default: false
    }
}

/// A JSON string with its quotes (RFC 8259, section 7).
func quoted(_ text: some StringProtocol) -> String {
    var json = "\""
    for scalar in text.unicodeScalars {
        switch scalar {
        case "\"": json += "\\\""
        case "\\": json += "\\\\"
        case "\n": json += "\\n"
        case "\r": json += "\\r"
        case "\t": json += "\\t"
        case _ where isHostile(scalar):
            let digits = hex(scalar.value)
            json += "\\u" + String(repeating: "0", count: max(0, 4 - digits.utf8.count)) + digits
        default: json.unicodeScalars.append(scalar)
        }
    }
    return json + "\""
}

/// The text, filled up with spaces to a width; to the left of it if `right`.
func padded(_ text: String, _ width: Int, right: Bool = false) -> String {
    let missing = String(repeating: " ", count: max(0, width - text.utf8.count))
    return right ? missing + text : text + missing
}
