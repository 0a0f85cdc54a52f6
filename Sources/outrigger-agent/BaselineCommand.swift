import AdminProtocol
import ArgumentParser
import HostAgent
import Presentation

struct BaselineCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "baseline", abstract: "Measure this host's own use (from /proc) and report it to the device.")

    @OptionGroup var device: DeviceOption

    @Option(help: "Seconds to measure for.")
    var interval = 1.0

    func validate() throws {
        guard interval >= 0.01, interval <= 600 else {
            throw ValidationError("--interval: seconds from 0.01 to 600 expected, \(interval) found")
        }
    }

    func run() throws {
        let host = try HostBaseline.measure(milliseconds: UInt64(interval * 1000))
        var baseline = Baseline()
        baseline.processorPermille = host.processorPermille * host.processors
        baseline.processors = host.processors
        baseline.memoryKiB = UInt32(clamping: host.memoryUsed)
        baseline.memoryTotalKiB = UInt32(clamping: host.memoryTotal)
        baseline.networkKiBPerSecond = UInt32(clamping: (host.networkReceivedBytes + host.networkSentBytes) / 1024)
        baseline.blockKiBPerSecond = UInt32(clamping: (host.diskReadBytes + host.diskWrittenBytes) / 1024)
        // The figures are means over the interval: those of less than a second say little.
        baseline.confidencePermille = UInt32(min(1000, interval * 1000))
        baseline.processorPressure = UInt8(host.processorPressure / 10)
        baseline.memoryPressure = UInt8(host.memoryPressure / 10)
        baseline.ioPressure = UInt8(host.ioPressure / 10)
        try device.client().report(baseline)
        print("processors: \(decimal(Double(host.processorPermille) / 10, 1))% of \(host.processors) busy")
        print("memory:     \(bytes(host.memoryUsed * 1024)) of \(bytes(host.memoryTotal * 1024))")
        print("block I/O:  \(bytes(host.diskReadBytes))/s read, \(bytes(host.diskWrittenBytes))/s written")
        print("network:    \(bytes(host.networkReceivedBytes))/s received, \(bytes(host.networkSentBytes))/s sent")
        print("""
            waiting:    \(decimal(Double(host.processorPressure) / 10, 1))% for processors, \
            \(decimal(Double(host.memoryPressure) / 10, 1))% for memory, \(decimal(Double(host.ioPressure) / 10, 1))% for I/O
            """)
    }
}
