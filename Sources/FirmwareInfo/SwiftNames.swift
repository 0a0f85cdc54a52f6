/// The Swift runtime's demangler, which its Swift modules don't offer (docs/ABI/Mangling.rst of Swift). It makes a C string that the
/// caller frees, or nothing of what is no mangled name.
@_silgen_name("swift_demangle")
private func runtimeDemangle(
    _ name: UnsafePointer<CChar>, _ length: UInt, _ output: UnsafeMutablePointer<CChar>?, _ size: UnsafeMutablePointer<UInt>?,
    _ flags: UInt32
) -> UnsafeMutablePointer<CChar>?

/// Names of Swift, as linkers and as people write them.
enum SwiftNames {
    private static let longest = 4096

    /// The full name, with modules and types; nil for what isn't a mangled Swift name.
    static func demangle(_ name: String) -> String? {
        guard name.hasPrefix("$s") || name.hasPrefix("$e"), name.utf8.count <= longest,
            let text = name.withCString({ runtimeDemangle($0, UInt(name.utf8.count), nil, nil, 0) })
        else { return nil }
        defer { text.deallocate() }
        let full = String(cString: text)
        return full == name ? nil : full
    }

    /// The short name of a function: `Counters.count(_:by:)` for `OffloadManager.Counters.count(_: OffloadManager.Counters.Counter, by:
    /// Swift.UInt32) -> ()`. What is no Swift name stays as it is.
    static func shorten(_ linkageName: String) -> String {
        guard let full = demangle(linkageName) else { return linkageName }
        var text = full[...]
        // What the optimiser has made of a function is the function, to people.
        while let end = endOfSpecialization(text) { text = text[end...] }
        return withoutModules(withoutDiscriminators(signature(text)))
    }

    /// Behind `function signature specialization <...> of `, `generic specialization <...> of `, `merged ` and the like.
    private static func endOfSpecialization(_ text: Substring) -> Substring.Index? {
        if text.hasPrefix("merged ") { return text.index(text.startIndex, offsetBy: 7) }
        let kinds = ["function signature specialization <", "generic specialization <", "generic not re-abstracted specialization <"]
        let isSpecialization = kinds.contains { text.hasPrefix($0) }
        guard isSpecialization, var at = text.firstIndex(of: "<") else { return nil }
        var depth = 0
        while at < text.endIndex {
            let next = text.index(after: at)
            if text[at] == "<" { depth += 1 }
            // Not the arrow.
            if text[at] == ">", text[text.index(before: at)] != "-" { depth -= 1 }
            at = next
            if depth == 0 { break }
        }
        return text[at...].hasPrefix(" of ") ? text.index(at, offsetBy: 4) : nil
    }

    /// Leaves labels of the parameter list, and no types.
    private static func signature(_ text: Substring) -> String {
        // The parameter list is the first parenthesis behind the name: `(f in _DISCRIMINATOR)` and `(extension in M):` begin one, too.
        var depth = 0, open: Substring.Index?
        for index in text.indices {
            switch text[index] {
            case "(":
                let isList = index > text.startIndex && text[text.index(before: index)] != "." && text[text.index(before: index)] != " "
                if depth == 0, isList { open = index }
                depth += 1
            case ")": depth -= 1
            default: break
            }
            if open != nil { break }
        }
        guard let open else {
            // A property: `name.getter : Type`.
            return text.range(of: " : ").map { String(text[..<$0.lowerBound]) } ?? String(text)
        }
        return String(text[..<nameEnd(text[..<open])]) + "(" + labels(text[open...]) + ")"
    }

    /// Where a name ends: before its generic parameters.
    private static func nameEnd(_ text: Substring) -> Substring.Index {
        guard text.last == ">", let open = text.firstIndex(of: "<") else { return text.endIndex }
        return open
    }

    /// The labels of a parameter list that begins with its parenthesis; `_:` for each that has none.
    private static func labels(_ text: Substring) -> String {
        var labels = "", level = 0, label = "", hasColon = false, isEmpty = true
        for index in text.indices {
            let character = text[index]
            switch character {
            case "(", "<", "[": level += 1
            case ")", "]": level -= 1
            case ">" where text[text.index(before: index)] != "-": level -= 1
            case ":" where level == 1: hasColon = true
            default: break
            }
            let ends = level == 0 || level == 1 && character == ","
            if ends, !isEmpty { labels += (hasColon ? label : "_") + ":" }
            if level == 0 { break }
            if ends {
                (label, hasColon, isEmpty) = ("", false, true)
            } else if index != text.startIndex, character != " " {
                isEmpty = false
                if level == 1, !hasColon, character != ":" { label.append(character) }
            }
        }
        return labels
    }

    /// Private functions carry their file's discriminator: `Type.(f in _A98B...)(_:)`.
    private static func withoutDiscriminators(_ text: String) -> String {
        var result = "", rest = text[...]
        while let separator = rest.range(of: " in _"), let open = rest[..<separator.lowerBound].lastIndex(of: "("),
            let close = rest[separator.upperBound...].firstIndex(of: ")")
        {
            result += rest[..<open] + rest[rest.index(after: open)..<separator.lowerBound]
            rest = rest[rest.index(after: close)...]
        }
        return result + rest
    }

    /// Without the module at the beginning, and without the one whose type an extension extends.
    private static func withoutModules(_ text: String) -> String {
        var text = text[...], prefix = ""
        for word in ["static ", "(extension in "] where text.hasPrefix(word) {
            if word == "static " {
                prefix = word
                text = text.dropFirst(word.count)
            } else if let end = text.range(of: "):") {
                text = text[end.upperBound...]
            }
        }
        let path = text.prefix { $0 != "(" && $0 != " " && $0 != "<" }
        // A free function keeps nothing but its name.
        if let dot = path.firstIndex(of: ".") { text = text[text.index(after: dot)...] }
        // What the compiler makes of types: `outlined enum tag store of MODULE.TYPE`.
        if text.hasPrefix("outlined "), let of = text.range(of: " of ") {
            return prefix + text[..<of.upperBound] + withoutModules(String(text[of.upperBound...]))
        }
        return prefix + text
    }
}

extension StringProtocol {
    /// The first place of a text in this one, without Foundation.
    fileprivate func range(of text: String) -> Range<Index>? {
        guard !text.isEmpty else { return nil }
        var at = startIndex
        while at < endIndex {
            if self[at...].hasPrefix(text) { return at..<index(at, offsetBy: text.count) }
            formIndex(after: &at)
        }
        return nil
    }
}
