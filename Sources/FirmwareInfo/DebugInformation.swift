import RISCV

/// Why an image's debug information can't be used. The description is one line for people.
public enum DebugInformationError: Error, Equatable, CustomStringConvertible {
    case image(ELFError)
    /// There is none, or libdw doesn't take it.
    case missing(String)
    /// What is wanted of it isn't there, or isn't as it should be.
    case unexpected(String)

    public var description: String {
        switch self {
        case .image(let error): "\(error)"
        case .missing(let reason): "the image has no usable debug information: \(reason)"
        case .unexpected(let what): what
        }
    }
}

/// A line of a source file.
public struct SourceLine: Hashable, Sendable, CustomStringConvertible {
    /// As the compiler was given it; the firmware's are relative to the root of the sources.
    public let file: String
    /// From 1; 0 if the compiler doesn't say.
    public let line: Int

    public init(file: String, line: Int) {
        self.file = file
        self.line = line
    }

    public var description: String { line == 0 ? file : "\(file):\(line)" }
}

/// A function of the firmware, as it is in the image.
public struct FirmwareFunction: Sendable {
    /// As people write it: `Counters.count(_:by:)`, `memcpy`.
    public let name: String
    /// As the linker knows it.
    public let linkageName: String
    /// Where its code is, by address; never empty.
    public let ranges: [Range<UInt32>]
    /// Where it is declared.
    public let declaration: SourceLine?
    /// Calls that were inlined, outer before inner.
    let inlined: [InlinedCall]

    func contains(_ pc: UInt32) -> Bool { ranges.contains { $0.contains(pc) } }
}

/// A call that the compiler replaced by the function's code.
struct InlinedCall: Sendable {
    let name: String
    let ranges: [Range<UInt32>]
    /// Where it was called.
    let call: SourceLine?
    let depth: Int
}

/// Code that one line of the source was compiled to.
public struct LineRange: Sendable {
    public let addresses: Range<UInt32>
    public let source: SourceLine
}

/// One line of a backtrace.
public struct Frame: Hashable, Sendable, CustomStringConvertible {
    /// The address that runs, or to which the call returns.
    public let pc: UInt32
    /// nil: there is no function at this address.
    public let function: String?
    public let source: SourceLine?
    /// Its caller is the next frame at the same address.
    public let isInlined: Bool

    public var description: String {
        let place = source.map { " at \($0)" } ?? ""
        return "0x\(String(pc, radix: 16).leftPadded(8)) \(function ?? "?")\(isInlined ? " [inlined]" : "")\(place)"
    }
}

extension String {
    func leftPadded(_ width: Int) -> String { String(repeating: "0", count: max(0, width - utf8.count)) + self }
}

/// What a firmware image says about itself: functions, lines, call frames and types, out of its DWARF and its symbols.
///
/// All of it is read once, when this is made; the file isn't trusted.
public final class DebugInformation: Sendable {
    public let image: ELFImage
    /// By their first address.
    public let functions: [FirmwareFunction]
    /// By address; they don't overlap.
    public let lines: [LineRange]
    let frames: CallFrameTable
    let types: TypeTable
    /// Ranges of functions by address, and the function of each.
    private let places: [(range: Range<UInt32>, function: Int)]
    /// Symbols in code, by address, without the assembler's own labels.
    private let symbols: [ELFImage.Symbol]

    /// - Parameter elf: the bytes of an ELF file.
    public init(_ elf: [UInt8]) throws(DebugInformationError) {
        do throws(ELFError) {
            image = try ELFImage(elf)
        } catch {
            throw .image(error)
        }
        var reader = try DwarfReader(elf, image)
        defer { reader.close() }
        let content = reader.read()
        functions = content.functions.sorted { ($0.ranges[0].lowerBound, $0.linkageName) < ($1.ranges[0].lowerBound, $1.linkageName) }
        lines = content.lines
        types = TypeTable(content.types)
        frames = CallFrameTable(content.rows)
        places = functions.enumerated().flatMap { number, function in function.ranges.map { ($0, number) } }
            .sorted { $0.0.lowerBound < $1.0.lowerBound }
        let image = image
        symbols = image.symbols.filter { !$0.name.hasPrefix(".L") && image.isCode($0.address) }
    }

    /// The last symbol at or before an address in code; one without a size reaches up to the next.
    func symbol(containing pc: UInt32) -> ELFImage.Symbol? {
        guard image.isCode(pc), let symbol = symbols.last(startingAtOrBefore: pc, by: \.address) else { return nil }
        return symbol.size == 0 || pc &- symbol.address < symbol.size ? symbol : nil
    }

    /// The function in which an address lies; for code without debug information, one made of the symbol.
    public func function(containing pc: UInt32) -> FirmwareFunction? {
        if let place = places.last(startingAtOrBefore: pc, by: \.range.lowerBound), place.range.contains(pc) {
            return functions[place.function]
        }
        guard let symbol = symbol(containing: pc) else { return nil }
        let end = symbol.size > 0 ? symbol.address &+ symbol.size : max(pc &+ 1, symbol.address &+ 1)
        guard end > symbol.address else { return nil }
        return FirmwareFunction(
            name: SwiftNames.shorten(symbol.name), linkageName: symbol.name, ranges: [symbol.address..<end], declaration: nil, inlined: [])
    }

    /// The functions that a person may mean: by linkage name, by full short name (`Counters.count(_:by:)`), or by the last part of it
    /// without labels (`count`). Inlined copies are no functions.
    public func functions(named name: String) -> [FirmwareFunction] {
        let exact = functions.filter { $0.linkageName == name || $0.name == name }
        if !exact.isEmpty { return exact }
        let named = functions.filter { function in
            let base = function.name.prefix { $0 != "(" }
            return base == name || base.hasSuffix("." + name) || base.hasSuffix(" " + name)
        }
        if !named.isEmpty { return named }
        return symbols.filter { $0.name == name }.compactMap { function(containing: $0.address) }
    }

    /// The line to which the instruction at an address belongs.
    public func source(of pc: UInt32) -> SourceLine? {
        guard let range = lines.last(startingAtOrBefore: pc, by: \.addresses.lowerBound), range.addresses.contains(pc) else { return nil }
        return range.source
    }

    /// The function at an address and what was inlined there, innermost first; at least one frame.
    /// - Parameter lookup: the address that is looked up, for calls: the one before the address of return.
    public func frames(at pc: UInt32, lookup: UInt32? = nil) -> [Frame] {
        let address = lookup ?? pc
        guard let function = function(containing: address) else {
            return [Frame(pc: pc, function: nil, source: source(of: address), isInlined: false)]
        }
        var place = source(of: address), frames: [Frame] = []
        let calls = function.inlined.filter { call in call.ranges.contains { $0.contains(address) } }
        for call in calls.sorted(by: { $0.depth > $1.depth }) {
            frames.append(Frame(pc: pc, function: call.name, source: place, isInlined: true))
            place = call.call
        }
        frames.append(Frame(pc: pc, function: function.name, source: place, isInlined: false))
        return frames
    }
}

extension ELFImage {
    /// Whether an address is in code that the file has.
    func isCode(_ address: UInt32) -> Bool {
        segments.contains { $0.isExecutable && address >= $0.virtualAddress && address &- $0.virtualAddress < UInt32($0.fileBytes.count) }
    }
}

extension Array {
    /// Of elements sorted by `key`, the last whose key isn't after `value`.
    func last(startingAtOrBefore value: UInt32, by key: (Element) -> UInt32) -> Element? {
        var low = 0, high = count
        while low < high {
            let middle = (low + high) / 2
            if key(self[middle]) <= value { low = middle + 1 } else { high = middle }
        }
        return low > 0 ? self[low - 1] : nil
    }
}
