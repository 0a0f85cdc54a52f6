import FirmwareInfo
import Foundation
import RISCV
import Simulation
import Testing

@Suite(.enabled(if: Image.isBuilt, "tools/firmware builds the image"))
struct DebugInformationTests {
    let information: DebugInformation

    init() throws { information = try #require(Image.information) }

    @Test func functionsHaveTheNamesThatPeopleGaveThem() throws {
        let main = try #require(information.functions(named: "offload_main").first)
        #expect(main.ranges.count == 1)
        let file = "firmware/OffloadManager/Entry.swift"
        #expect(main.declaration == SourceLine(file: file, line: try Image.line(of: "offloadMain()", in: file)))
        let serve = try #require(information.functions(named: "OffloadManager.serve(_:)").first)
        #expect(information.functions(named: "serve").map(\.linkageName).contains(serve.linkageName))
        #expect(information.functions(named: serve.linkageName).map(\.name) == ["OffloadManager.serve(_:)"])
        // An extension of another module's type, a private function with labels, a getter, plain C.
        for name in ["UART.sendNow(hexadecimal:)", "PolicyEngine.add(_:of:)", "Settings.policy.getter", "memcpy"] {
            #expect(information.functions(named: name).count == 1, "\(name)")
        }
        #expect(information.functions(named: "noSuchFunction").isEmpty)
        #expect(information.functions.allSatisfy { !$0.name.contains("$") && !$0.name.contains("specialization") })
    }

    @Test func everyInstructionOfAFunctionIsFoundInIt() throws {
        for function in information.functions {
            for range in function.ranges {
                for pc in stride(from: range.lowerBound, to: range.upperBound, by: 2) {
                    #expect(information.function(containing: pc)?.linkageName == function.linkageName)
                }
            }
        }
        // Assembly has no functions in DWARF: its symbols name them.
        #expect(information.function(containing: information.image.entry)?.name == "_start")
        #expect(information.function(containing: 0x100) == nil)
    }

    @Test func linesAgreeWithLLVM() throws {
        let program = try #require(Self.besideSwift("llvm-symbolizer"))
        let text = try #require(information.image.segments.first { $0.isExecutable })
        let addresses = stride(from: text.virtualAddress, to: text.virtualAddress + UInt32(text.fileBytes.count), by: 34).map { $0 }
        let process = Process()
        process.executableURL = URL(fileURLWithPath: program)
        process.arguments = ["--obj=\(Image.path)", "--output-style=GNU", "--inlines", "--functions=linkage", "--no-demangle"]
            + addresses.map { "0x" + String($0, radix: 16) }
        let pipe = Pipe()
        process.standardOutput = pipe
        try process.run()
        let output = String(decoding: pipe.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
        process.waitUntilExit()
        // For each address pairs of lines: a function, FILE:LINE; inlined ones first.
        var lines = output.split(separator: "\n", omittingEmptySubsequences: false).map(String.init)[...]
        var compared = 0
        for address in addresses {
            for frame in information.frames(at: address) {
                lines = lines.dropFirst()
                let place = try #require(lines.first).prefix { $0 != " " }
                lines = lines.dropFirst()
                guard let source = frame.source, !place.hasPrefix("??") else { continue }
                let expected = "\(source.file.components(separatedBy: "/").last!):\(source.line)"
                #expect(place.hasSuffix(expected) || place.hasSuffix(":0") || place.hasSuffix("?"), "\(address): \(frame)")
                compared += 1
            }
        }
        #expect(compared > 500 && lines.allSatisfy(\.isEmpty))
    }

    /// A program of the Swift toolchain.
    private static func besideSwift(_ name: String) -> String? {
        for folder in (ProcessInfo.processInfo.environment["PATH"] ?? "").split(separator: ":") {
            let compiler = URL(fileURLWithPath: "\(folder)/swiftc").resolvingSymlinksInPath()
            let program = compiler.deletingLastPathComponent().appendingPathComponent(name).path
            if FileManager.default.isExecutableFile(atPath: program) { return program }
        }
        return nil
    }

    @Test func corruptedImagesAreRefusedOrRead() throws {
        let bytes = try Image.read()
        var random = SplitMix64(seed: 20)
        for round in 0..<60 {
            var broken = bytes
            for _ in 0..<(1 + Int(random.next() % 64)) {
                let at = Int(random.next() % UInt64(bytes.count))
                for byte in at..<min(at + 4, bytes.count) { broken[byte] = UInt8(truncatingIfNeeded: random.next()) }
            }
            if round % 5 == 0 { broken.removeLast(Int(random.next() % UInt64(bytes.count))) }
            guard let information = try? DebugInformation(broken) else { continue }
            #expect(information.functions.allSatisfy { !$0.ranges.isEmpty }, "round \(round)")
            let lines = information.lines.map(\.addresses)
            #expect(zip(lines, lines.dropFirst()).allSatisfy { $0.upperBound <= $1.lowerBound }, "round \(round)")
            for pc in stride(from: 0x8000_0000 as UInt32, to: 0x8000_7000, by: 62) {
                _ = information.frames(at: pc)
                let registers = HartRegisters(x: (0..<32).map { _ in UInt32(truncatingIfNeeded: random.next()) }, pc: pc)
                _ = information.backtrace(of: registers) { _ in UInt32(truncatingIfNeeded: random.next() % 0x7000 + 0x8000_0000) }
            }
            _ = try? FirmwareTrace(information, FakeMemory())
            _ = try? FirmwareCounters(information, FakeMemory())
        }
    }
}
