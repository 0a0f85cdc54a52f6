// How attributes are spelt, and what is accepted when they are written: as Linux's kstrtoint and kstrtobool.

/// `value` in lower-case hexadecimal with at least `digits` digits.
func hex(_ value: some BinaryInteger, _ digits: Int) -> String {
    let text = String(value, radix: 16)
    return String(repeating: "0", count: max(0, digits - text.count)) + text
}

/// Without the white space around it.
func trimmed(_ text: String) -> String {
    var slice = Substring(text)
    while let last = slice.last, last.isWhitespace || last == "\0" { slice.removeLast() }
    return String(slice.drop(while: \.isWhitespace))
}

/// A number, decimal or `0x` and hexadecimal; EINVAL otherwise.
func parseNumber(_ text: String) throws(Errno) -> Int {
    let digits = trimmed(text)
    let number = digits.lowercased().hasPrefix("0x") ? Int(digits.dropFirst(2), radix: 16) : Int(digits)
    guard let number, number >= 0 else { throw .invalidArgument }
    return number
}

/// `1`, `y`, `on` or `0`, `n`, `off`; EINVAL otherwise.
func parseBoolean(_ text: String) throws(Errno) -> Bool {
    switch trimmed(text).lowercased() {
    case "1", "y", "yes", "on", "t", "true": return true
    case "0", "n", "no", "off", "f", "false": return false
    default: throw .invalidArgument
    }
}
