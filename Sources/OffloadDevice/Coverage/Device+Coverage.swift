import RISCV
import Simulation
import Tracing

/// The code that is being covered.
struct CodeUnderTest {
    let coverage: CodeCoverage
    let checksum: UInt32
}

extension Device {
    /// Begins to note which instructions of the firmware in memory are executed and what software does with registers. Nothing of that
    /// changes what the device does.
    /// It is to be called before firmware is loaded: code is covered from its loading on.
    public func startCoverage() {
        recorder.coverage = RegisterCoverage()
        codeUnderTest = []
    }

    /// Another image has been loaded, or the same again.
    func coverCode(of image: ELFImage) {
        guard recorder.coverage != nil else { return }
        for hart in harts { hart.collectCoverage() }
        let segments = image.segments.filter { $0.isExecutable && !$0.fileBytes.isEmpty }
        guard let segment = segments.first else { return }
        let checksum = CoverageData.checksum(of: Array(image.contents(of: segment)))
        let coverage: CodeCoverage
        if let known = codeUnderTest.first(where: { $0.checksum == checksum && $0.coverage.range.lowerBound == segment.address }) {
            coverage = known.coverage
        } else {
            coverage = CodeCoverage(of: segment.address..<segment.address + UInt32(segment.fileBytes.count))
            codeUnderTest.append(CodeUnderTest(coverage: coverage, checksum: checksum))
        }
        for hart in harts { hart.setCoverage(coverage) }
    }

    /// What has been exercised since ``startCoverage()``; nil if that wasn't called.
    public var coverage: CoverageData? {
        guard let registers = recorder.coverage else { return nil }
        for hart in harts { hart.collectCoverage() }
        var data = CoverageData()
        data.code = codeUnderTest.map { .init(checksum: $0.checksum, base: $0.coverage.range.lowerBound, bits: $0.coverage.bits) }
            .sorted { ($0.checksum, $0.base) < ($1.checksum, $1.base) }
        for (entry, use) in zip(RegisterCatalogue.device.entries, registers.uses) { data.registers[entry.name] = use }
        return data
    }
}
