import OffloadDevice

/// Carries out the packets of one client (Debugging with GDB, appendix E). It knows nothing of framing and sockets.
///
/// Whatever a packet contains, it gets an answer: an error for nonsense, an empty one for what isn't supported.
public struct CommandHandler {
    /// What is to happen on the connection.
    public enum Reply: Hashable, Sendable {
        /// These packets are sent, in their order.
        case send([[UInt8]])
        /// The harts go on; a stop is reported when it comes.
        case resumed
        /// The packet is sent without and from then on nothing is acknowledged.
        case withoutAcknowledgements
        /// The packet is sent, and the client's business is over.
        case close([UInt8]?)
    }

    /// The longest packet that the client may send, in bytes.
    public static let packetSize = 0x4000

    private let target: any DebugTarget
    /// Of `H g` and `H c`: the harts for registers, and for `c` and `s`; nil for all.
    private var selected = 0
    private var continued: Int?
    /// The breakpoints as the client set them, to say by which kind a hart was stopped.
    private var softwareBreakpoints: Set<UInt32> = [], hardwareBreakpoints: Set<UInt32> = []

    public init(_ target: any DebugTarget) { self.target = target }

    // MARK: Stops

    /// What tells the client why the harts are held.
    public mutating func stopReply() -> [UInt8] {
        guard let stop = target.stop else { return Array("T00".utf8) }
        selected = stop.hart
        let thread = "thread:\(stop.hart + 1);"
        if let edge = target.edge { return Array("T05\(thread)replaylog:\(edge.rawValue);".utf8) }
        switch stop.reason {
        case .request: return Array("T02\(thread)".utf8)
        case .step, .event, .cycle: return Array("T05\(thread)".utf8)
        case .breakpoint:
            let address = target.readRegister(.pc, hart: stop.hart) ?? 0
            return Array("T05\(thread)\(hardwareBreakpoints.contains(address) ? "hwbreak" : "swbreak"):;".utf8)
        case .watchpoint(let watchpoint):
            let kind = switch watchpoint.kind {
            case .write: "watch"
            case .read: "rwatch"
            case .access: "awatch"
            }
            return Array("T05\(thread)\(kind):\(String(watchpoint.address, radix: 16));".utf8)
        }
    }

    // MARK: Commands

    public mutating func handle(_ packet: [UInt8]) -> Reply {
        guard let command = packet.first else { return .send([[]]) }
        let rest = packet.dropFirst()
        // Nothing else makes sense before the harts have stopped; a client that keeps to the protocol doesn't send it.
        guard target.stop != nil else { return Self.error("the harts are running") }
        switch command {
        case UInt8(ascii: "?"): return .send([stopReply()])
        case UInt8(ascii: "g"): return .send([readGeneralRegisters()])
        case UInt8(ascii: "G"): return writeGeneralRegisters(rest)
        case UInt8(ascii: "p"): return readRegister(rest)
        case UInt8(ascii: "P"): return writeRegister(rest)
        case UInt8(ascii: "m"): return readMemory(rest)
        case UInt8(ascii: "M"): return writeMemory(rest, isBinary: false)
        case UInt8(ascii: "X"): return writeMemory(rest, isBinary: true)
        case UInt8(ascii: "Z"): return breakpoint(rest, inserting: true)
        case UInt8(ascii: "z"): return breakpoint(rest, inserting: false)
        case UInt8(ascii: "H"): return selectThread(rest)
        case UInt8(ascii: "T"): return Self.hart(rest, of: target) == nil ? Self.error("no such thread") : Self.ok
        case UInt8(ascii: "c"), UInt8(ascii: "s"): return goOn(rest, command)
        case UInt8(ascii: "C"), UInt8(ascii: "S"):
            // A signal means nothing to a hart.
            let address = rest.split(separator: UInt8(ascii: ";"), maxSplits: 1, omittingEmptySubsequences: false).dropFirst().first
            return goOn(address ?? [], command | 0x20)
        case UInt8(ascii: "b") where target.hasHistory: return goBack(rest)
        case UInt8(ascii: "D"): return .close(Array("OK".utf8))
        // The device can't be killed from here; the connection is what ends.
        case UInt8(ascii: "k"): return .close(nil)
        default: return handleNamed(String(decoding: packet, as: UTF8.self), packet)
        }
    }

    /// Packets whose command is a word.
    private mutating func handleNamed(_ text: String, _ packet: [UInt8]) -> Reply {
        let name = text.prefix { $0 != ":" && $0 != ";" && $0 != "," }
        let argument = packet.dropFirst(name.utf8.count + 1)
        switch name {
        case "qSupported":
            var features = [
                "PacketSize=\(String(Self.packetSize, radix: 16))", "qXfer:features:read+", "qXfer:memory-map:read+", "qXfer:threads:read+",
                "QStartNoAckMode+", "swbreak+", "hwbreak+", "vContSupported+",
            ]
            if target.hasHistory { features += ["ReverseStep+", "ReverseContinue+"] }
            return .send([Array(features.joined(separator: ";").utf8)])
        case "QStartNoAckMode": return .withoutAcknowledgements
        case "qAttached": return .send([Array("1".utf8)])
        case "qC": return .send([Array("QC\(selected + 1)".utf8)])
        case "qSymbol": return Self.ok
        case "qfThreadInfo":
            let threads = (1...target.hartCount).map { String($0, radix: 16) }
            return .send([Array("m\(threads.joined(separator: ","))".utf8)])
        case "qsThreadInfo": return .send([Array("l".utf8)])
        case "qThreadExtraInfo":
            guard let hart = Self.hart(argument, of: target) else { return Self.error("no such thread") }
            return .send([Hex.encode("hart \(hart): \(target.activity(ofHart: hart))".utf8)])
        case "qXfer": return transfer(argument)
        case "qRcmd":
            guard let bytes = Hex.decode(argument) else { return Self.error("monitor: hexadecimal digits expected") }
            return monitor(String(decoding: bytes, as: UTF8.self))
        case "qOutrigger.Step": return step(argument)
        case "qOutrigger.Screen": return screen(argument)
        case "vCont?": return .send([Array("vCont;c;C;s;S;r".utf8)])
        case "vCont": return continueThreads(argument)
        case "vKill": return Self.error("the device can't be killed; detach instead")
        default: return .send([[]])
        }
    }

    static let ok = Reply.send([Array("OK".utf8)])

    static func error(_ message: String) -> Reply { .send([Array("E.\(message)".utf8)]) }

    // MARK: Threads

    /// Thread n is hart n - 1; 0 is any of them.
    private static func hart(_ text: ArraySlice<UInt8>, of target: some DebugTarget) -> Int? {
        guard let number = Hex.number(text), number <= UInt64(target.hartCount) else { return nil }
        return max(Int(number) - 1, 0)
    }

    private mutating func selectThread(_ text: ArraySlice<UInt8>) -> Reply {
        let thread = text.dropFirst()
        let isAll = thread.elementsEqual("-1".utf8) || thread.elementsEqual("0".utf8)
        guard let kind = text.first, isAll || Self.hart(thread, of: target) != nil else { return Self.error("no such thread") }
        let hart = isAll ? nil : Self.hart(thread, of: target)
        switch kind {
        case UInt8(ascii: "g"): selected = hart ?? selected
        case UInt8(ascii: "c"): continued = hart
        default: return .send([[]])
        }
        return Self.ok
    }

    // MARK: Going on

    /// `c` and `s`, with an address at which to go on or without.
    private mutating func goOn(_ address: ArraySlice<UInt8>, _ command: UInt8) -> Reply {
        let hart = continued ?? selected
        if !address.isEmpty {
            guard let address = Hex.number(address), let pc = UInt32(exactly: address) else { return Self.error("not an address") }
            _ = target.writeRegister(.pc, hart: hart, pc)
        }
        var actions = Array(repeating: continued == nil && command == UInt8(ascii: "c") ? HartAction.run : .hold, count: target.hartCount)
        actions[hart] = command == UInt8(ascii: "c") ? .run : .step(while: 0..<0)
        target.resume(actions)
        return .resumed
    }

    /// `bs` and `bc`.
    private func goBack(_ kind: ArraySlice<UInt8>) -> Reply {
        switch kind.first {
        case UInt8(ascii: "s") where kind.count == 1: target.goBack(.step(hart: continued ?? selected))
        case UInt8(ascii: "c") where kind.count == 1: target.goBack(.run)
        default: return .send([[]])
        }
        return .resumed
    }

    /// `vCont`: for each hart, the first action that names it or names no thread.
    private func continueThreads(_ text: ArraySlice<UInt8>) -> Reply {
        var actions = [HartAction?](repeating: nil, count: target.hartCount)
        for part in text.split(separator: UInt8(ascii: ";"), omittingEmptySubsequences: false) {
            let pieces = part.split(separator: UInt8(ascii: ":"), maxSplits: 1, omittingEmptySubsequences: false)
            guard let action = Self.action(pieces[0]) else { return Self.error("vCont: an action is not c, C, s, S or r") }
            if pieces.count == 1 || pieces[1].elementsEqual("-1".utf8) {
                for hart in actions.indices where actions[hart] == nil { actions[hart] = action }
            } else {
                guard let hart = Self.hart(pieces[1], of: target) else { return Self.error("no such thread") }
                if actions[hart] == nil { actions[hart] = action }
            }
        }
        guard actions.contains(where: { $0 != nil }) else { return Self.error("vCont: no action") }
        target.resume(actions.map { $0 ?? .hold })
        return .resumed
    }

    private static func action(_ text: ArraySlice<UInt8>) -> HartAction? {
        let argument = text.dropFirst()
        switch text.first {
        case UInt8(ascii: "c") where argument.isEmpty: return .run
        case UInt8(ascii: "s") where argument.isEmpty: return .step(while: 0..<0)
        case UInt8(ascii: "C") where argument.count == 2 && Hex.decode(argument) != nil: return .run
        case UInt8(ascii: "S") where argument.count == 2 && Hex.decode(argument) != nil: return .step(while: 0..<0)
        case UInt8(ascii: "r"):
            guard let (start, end) = pair(argument), start <= end, let start = UInt32(exactly: start), let end = UInt32(exactly: end) else {
                return nil
            }
            return .step(while: start..<end)
        default: return nil
        }
    }

    /// Two numbers with a comma between.
    static func pair(_ text: ArraySlice<UInt8>) -> (UInt64, UInt64)? {
        let parts = text.split(separator: UInt8(ascii: ","), omittingEmptySubsequences: false)
        guard parts.count == 2, let first = Hex.number(parts[0]), let second = Hex.number(parts[1]) else { return nil }
        return (first, second)
    }

    // MARK: Breakpoints

    /// `Z` and `z`: kind, address, and the breakpoint's or the watchpoint's length.
    private mutating func breakpoint(_ text: ArraySlice<UInt8>, inserting: Bool) -> Reply {
        let parts = text.split(separator: UInt8(ascii: ","), maxSplits: 1, omittingEmptySubsequences: false)
        // Conditions that the target would evaluate are not offered, so nothing may follow.
        guard parts.count == 2, let kind = Hex.number(parts[0]) else { return Self.error("breakpoint: KIND,ADDRESS,LENGTH expected") }
        guard kind <= 4 else { return .send([[]]) }
        guard let (number, length) = Self.pair(parts[1]), let address = UInt32(exactly: number), length <= 1 << 20 else {
            return Self.error("breakpoint: KIND,ADDRESS,LENGTH expected, with 32 bits of address and at most 1 MiB")
        }
        if kind >= 2 {
            let kinds: [Watchpoint.Kind] = [.write, .read, .access]
            let watchpoint = Watchpoint(address: UInt64(address), count: length, kind: kinds[Int(kind - 2)])
            if inserting { target.insertWatchpoint(watchpoint) } else { target.removeWatchpoint(watchpoint) }
            return Self.ok
        }
        if inserting {
            if kind == 0 { softwareBreakpoints.insert(address) } else { hardwareBreakpoints.insert(address) }
            target.insertBreakpoint(address)
        } else {
            if kind == 0 { softwareBreakpoints.remove(address) } else { hardwareBreakpoints.remove(address) }
            if !softwareBreakpoints.contains(address), !hardwareBreakpoints.contains(address) { target.removeBreakpoint(address) }
        }
        return Self.ok
    }

    // MARK: Registers

    private func readGeneralRegisters() -> [UInt8] {
        TargetDescription.generalRegisters.flatMap { Hex.encode(target.readRegister($0, hart: selected) ?? 0) }
    }

    private func writeGeneralRegisters(_ text: ArraySlice<UInt8>) -> Reply {
        let registers = TargetDescription.generalRegisters
        guard let bytes = Hex.decode(text), bytes.count == 4 * registers.count else {
            return Self.error("G: \(8 * registers.count) hexadecimal digits expected")
        }
        for (index, register) in registers.enumerated() {
            let value = bytes[(4 * index)..<(4 * index + 4)].reversed().reduce(0) { $0 << 8 | UInt32($1) }
            _ = target.writeRegister(register, hart: selected, value)
        }
        return Self.ok
    }

    private func readRegister(_ text: ArraySlice<UInt8>) -> Reply {
        guard let number = Hex.number(text), let register = TargetDescription.register(number),
            let value = target.readRegister(register, hart: selected)
        else { return Self.error("no such register") }
        return .send([Hex.encode(value)])
    }

    private func writeRegister(_ text: ArraySlice<UInt8>) -> Reply {
        let parts = text.split(separator: UInt8(ascii: "="), omittingEmptySubsequences: false)
        guard parts.count == 2, let number = Hex.number(parts[0]), let register = TargetDescription.register(number) else {
            return Self.error("no such register")
        }
        guard let value = Hex.register(parts[1]) else { return Self.error("P: 8 hexadecimal digits expected as the value") }
        return target.writeRegister(register, hart: selected, value) ? Self.ok : Self.error("this register can't be written")
    }

    // MARK: Memory

    private func readMemory(_ text: ArraySlice<UInt8>) -> Reply {
        guard let (number, count) = Self.pair(text), let address = UInt32(exactly: number) else {
            return Self.error("m: ADDRESS,LENGTH expected")
        }
        if count == 0 { return .send([[]]) }
        let bytes = target.readMemory(address, count: Int(min(count, UInt64(Self.packetSize / 2))))
        // The one answer in which the client takes an error's text for data.
        return .send([bytes.isEmpty ? Array("E01".utf8) : Hex.encode(bytes)])
    }

    private func writeMemory(_ text: ArraySlice<UInt8>, isBinary: Bool) -> Reply {
        let parts = text.split(separator: UInt8(ascii: ":"), maxSplits: 1, omittingEmptySubsequences: false)
        guard parts.count == 2, let (number, count) = Self.pair(parts[0]), let address = UInt32(exactly: number),
            let bytes = isBinary ? Array(parts[1]) : Hex.decode(parts[1]), UInt64(bytes.count) == count
        else { return Self.error("ADDRESS,LENGTH:DATA expected, with as much data as LENGTH says") }
        return target.writeMemory(address, bytes).map(Self.error) ?? Self.ok
    }

    // MARK: Documents and monitor commands

    /// `qXfer:OBJECT:read:ANNEX:OFFSET,LENGTH`: a part of a document, after `m` if there is more and `l` if not.
    private func transfer(_ text: ArraySlice<UInt8>) -> Reply {
        let parts = text.split(separator: UInt8(ascii: ":"), omittingEmptySubsequences: false).map { String(decoding: $0, as: UTF8.self) }
        guard parts.count == 4, parts[1] == "read" else { return .send([[]]) }
        let document: String
        switch (parts[0], parts[2]) {
        case ("features", "target.xml"): document = TargetDescription.features
        case ("memory-map", ""): document = TargetDescription.memoryMap(target.memoryMap)
        case ("threads", ""): document = TargetDescription.threads(target)
        case ("features", _): return .send([Array("E00".utf8)])
        default: return .send([[]])
        }
        let bytes = Array(document.utf8)
        guard let (offset, length) = Self.pair(Array(parts[3].utf8)[...]) else { return Self.error("qXfer: OFFSET,LENGTH expected") }
        let start = Int(min(offset, UInt64(bytes.count)))
        let count = Int(min(length, UInt64(min(bytes.count - start, Self.packetSize - 16))))
        return .send([[UInt8(ascii: start + count < bytes.count ? "m" : "l")] + bytes[start..<(start + count)]])
    }

    /// `qOutrigger.Step:COMMAND`: a command of the stepper, in hexadecimal digits; what it prints comes the same way.
    private func step(_ text: ArraySlice<UInt8>) -> Reply {
        guard let stepping = target.stepping else { return .send([[]]) }
        guard let command = Hex.decode(text) else { return Self.error("qOutrigger.Step: hexadecimal digits expected") }
        do throws(StepError) {
            let lines = try stepping.perform(String(decoding: command, as: UTF8.self)) ?? []
            return .send([[UInt8(ascii: "l")] + Hex.encode(lines.joined(separator: "\n").utf8)])
        } catch {
            return Self.error(error.description)
        }
    }

    /// `qOutrigger.Screen:WIDTH,HEIGHT:ANSWER`: the stepper's screen.
    private func screen(_ text: ArraySlice<UInt8>) -> Reply {
        guard let stepping = target.stepping else { return .send([[]]) }
        let parts = text.split(separator: UInt8(ascii: ":"), maxSplits: 1, omittingEmptySubsequences: false)
        guard parts.count == 2, let (width, height) = Self.pair(parts[0]), let answer = Hex.decode(parts[1]), (1...1000).contains(width),
            (1...1000).contains(height)
        else { return Self.error("qOutrigger.Screen: WIDTH,HEIGHT:ANSWER expected") }
        let lines = stepping.screen(
            width: Int(width), height: Int(height), answer: String(decoding: answer, as: UTF8.self).split(separator: "\n").map(String.init))
        return .send([[UInt8(ascii: "l")] + Hex.encode(lines.joined(separator: "\n").utf8)])
    }

    /// `qRcmd`: what the command prints goes in console packets before the answer.
    private func monitor(_ command: String) -> Reply {
        var packets: [[UInt8]] = []
        var output = Array(target.monitor(command).utf8)[...]
        while !output.isEmpty {
            packets.append([UInt8(ascii: "O")] + Hex.encode(output.prefix(1024)))
            output = output.dropFirst(1024)
        }
        return .send(packets + [Array("OK".utf8)])
    }
}
