import FirmwareInfo
import Foundation
import RISCV

/// The firmware that `tools/firmware` has built, and a memory that holds it.
enum Image {
    static let root = String(#filePath.prefix(upTo: #filePath.range(of: "/Tests/")!.lowerBound))
    static let path = root + "/build/firmware/offload-manager.elf"
    static var isBuilt: Bool { access(path, R_OK) == 0 }

    static func read() throws -> [UInt8] { Array(try Data(contentsOf: URL(fileURLWithPath: path))) }

    /// Read once for all tests.
    static let information: DebugInformation? = try? DebugInformation(read())

    /// Of the lines of a source file, the first that contains a text: from 1.
    static func line(of text: String, in file: String) throws -> Int {
        let lines = try String(contentsOfFile: root + "/" + file, encoding: .utf8).components(separatedBy: "\n")
        guard let index = lines.firstIndex(where: { $0.contains(text) }) else { throw CocoaError(.featureUnsupported) }
        return index + 1
    }
}

/// SRAM with something written into it.
final class FakeMemory: FirmwareMemory {
    static let base: UInt32 = 0x8000_0000
    private var sram = [UInt8](repeating: 0, count: 4 << 20)
    var hartViews: [HartView] = []
    var registers: [String: UInt64] = [:]

    func bytes(at address: UInt32, count: Int) -> [UInt8]? {
        guard address >= Self.base, count >= 0, Int(address - Self.base) + count <= sram.count else { return nil }
        return Array(sram[Int(address - Self.base)..<Int(address - Self.base) + count])
    }

    func harts() -> [HartView] { hartViews }
    func register(_ name: String) -> UInt64? { registers[name] }

    func write(_ words: [UInt32], at address: UInt32) {
        for (index, word) in words.enumerated() {
            for byte in 0..<4 { sram[Int(address - Self.base) + 4 * index + byte] = UInt8(truncatingIfNeeded: word >> (8 * byte)) }
        }
    }

    func write(bytes: [UInt8], at address: UInt32) {
        for (index, byte) in bytes.enumerated() { sram[Int(address - Self.base) + index] = byte }
    }
}
