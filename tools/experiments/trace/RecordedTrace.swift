import Foundation

/// A recorded virtual machine's block I/O, counted in intervals.
public struct RecordedTrace {
    public struct Request {
        public var microsecond: UInt64
        public var isWrite: Bool
        public var bytes: UInt64
    }

    public let requests: [Request]

    /// Reads a VSCSI trace, version 1: records of 32 bytes, little-endian: u32 number, u32 bytes, u32 segments, u16 command, u16 version,
    /// u64 block, u64 microsecond.
    public init(contentsOf path: String) throws {
        let data = try Data(contentsOf: URL(fileURLWithPath: path))
        guard data.count >= 32, data.count % 32 == 0 else {
            throw TraceError(description: "\(path): expected records of 32 bytes, found \(data.count) bytes")
        }
        requests = try stride(from: 0, to: data.count, by: 32).map { offset in
            func number<Number: FixedWidthInteger>(_ place: Int, _: Number.Type) -> Number {
                data.withUnsafeBytes { Number(littleEndian: $0.loadUnaligned(fromByteOffset: offset + place, as: Number.self)) }
            }
            let command = number(12, UInt16.self)
            guard command == 0x28 || command == 0x2a else {
                throw TraceError(
                    description: "\(path): expected command 0x28 (read) or 0x2a (write) at byte \(offset + 12), found \(command)")
            }
            return Request(microsecond: number(24, UInt64.self), isWrite: command == 0x2a, bytes: UInt64(number(4, UInt32.self)))
        }
    }

    /// Requests, bytes read and bytes written in each interval, from the first request's second on; only whole intervals.
    public func counted(every seconds: UInt64) -> [[UInt64]] {
        let start = requests[0].microsecond / 1_000_000 * 1_000_000
        let length = seconds * 1_000_000
        let whole = Int((requests[requests.count - 1].microsecond + 1 - start) / length)
        var intervals = [[UInt64]](repeating: [0, 0, 0], count: whole)
        for request in requests {
            let place = Int((request.microsecond - start) / length)
            guard intervals.indices.contains(place) else { continue }
            intervals[place][0] += 1
            intervals[place][request.isWrite ? 2 : 1] += request.bytes
        }
        return intervals
    }
}

public struct TraceError: Error, CustomStringConvertible {
    public let description: String
}
