import Glibc
import OffloadDevice
import Registers
import Scratch
import Simulation
import Tracing

/// A stream of a stored trace, as a file without an index. Identity, stream number and checksum of each packet are made right. What is
/// read goes through every view.
struct TraceTarget: FuzzTarget {
    private let folder: TemporaryFolder
    private let identity: [UInt8]
    private let decoder: TraceDecoder

    init() throws {
        folder = try TemporaryFolder()
        // The metadata is read and checked for each input: no more names than it takes to have registers of each width, and arrays.
        var names = TraceNames.device
        names.registers = names.registers.enumerated().filter { $0.offset % 32 == 0 }.map(\.element)
        names.wires = Array(names.wires.prefix(4))
        decoder = TraceDecoder(names, catalogue: .device, maps: DeviceBus.allCases.map(\.map))
        let writer = try TraceWriter(folder: folder.path, names: names, frequency: 1_000_000_000)
        require(writer.finish().failure == nil, "a trace can be written")
        identity = Array(try folder.read("device")[4..<20])
        for name in ["device", "index/device.idx"] { unlink(folder.path(name)) }
    }

    mutating func take(_ input: [UInt8]) throws {
        guard input.count >= 28 else { return }
        let number = UInt16(input[24]) | UInt16(input[25] % 5) << 8
        let name = "\(Initiator(rawValue: number))"
        let file = try folder.write(mended(input, stream: number), to: name)
        defer { unlink(file) }
        do throws(TraceError) {
            try view()
        } catch {
            require(error.description.hasPrefix(folder.path), "an error without its file: \(error)")
        }
    }

    /// Packets with the fields that no mutation gets right: docs/tracing.md, "Files".
    private func mended(_ input: [UInt8], stream: UInt16) -> [UInt8] {
        var (file, start) = (input, 0)
        func number(at place: Int) -> Int { (0..<3).reduce(0) { $0 | Int(file[start + place + $1]) << (8 * $1) } }
        while file.count - start >= 88 {
            let bytes = number(at: 48) / 8
            guard bytes >= 88, bytes <= file.count - start else { break }
            file.replaceSubrange(start + 4..<start + 20, with: identity)
            file.replaceSubrange(start + 20..<start + 28, with: [0, 0, 0, 0, UInt8(stream & 0xff), UInt8(stream >> 8), 0, 0])
            var sum = FNV1a()
            file.withUnsafeBytes {
                sum.add(UnsafeRawBufferPointer(rebasing: $0[start..<start + 72]))
                sum.add(UnsafeRawBufferPointer(rebasing: $0[start + 88..<start + bytes]))
            }
            if bytes % 8 == 0 { sum.add(0) }
            for byte in 0..<8 { file[start + 80 + byte] = UInt8(truncatingIfNeeded: sum.value >> UInt64(8 * byte)) }
            start += bytes
        }
        return file
    }

    private func view() throws(TraceError) {
        var reader = try TraceReader(folder: folder.path)
        let formatter = TraceFormatter(decoder, usesColour: true)
        var summary = TraceSummary(decoder, frequency: reader.frequency)
        var signals = VCDExport(decoder, frequency: reader.frequency)
        var tracks = PerfettoExport(decoder, frequency: reader.frequency)
        var events: [TraceEvent] = []
        var damage: TraceError?
        do throws(TraceError) {
            while let event = try reader.next() { events.append(event) }
        } catch {
            damage = error
        }
        for event in events {
            require(!formatter.line(event).isEmpty && !formatter.json(event).contains("\n"), "a line for each event")
            summary.add(event)
            signals.declare(event)
            tracks.add(event)
        }
        signals.begin()
        for event in events { signals.add(event) }
        signals.finish()
        tracks.finish()
        _ = (summary.text(top: 5), summary.json(top: 5), signals.takeOutput(), tracks.takeOutput())
        if let damage { throw damage }
    }
}
