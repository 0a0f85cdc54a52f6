import AdminProtocol
import ArgumentParser
import Glibc
import HostAgent
import Presentation

struct BaselineCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "baseline", abstract: "Measure this host's own use (from /proc) and report it to the device.",
        discussion: """
            The device learns from the reports what is normal for the host: after 16 of them it can tell what is not ('watch' and \
            'metrics' show it). The confidence of a report says how steady the host's use was, and is less if it is of less than a second.
            """)

    @OptionGroup var device: DeviceOption

    @Option(help: "Seconds to measure for.")
    var interval = 1.0

    @Option(help: "Report so many times.")
    var count = 1

    @Flag(help: "Report until interrupted.")
    var follow = false

    func validate() throws {
        guard interval >= 0.01, interval <= 600 else {
            throw ValidationError("--interval: seconds from 0.01 to 600 expected, \(interval) found")
        }
        guard count >= 1 else { throw ValidationError("--count: at least 1 expected, \(count) found") }
    }

    func run() throws {
        let client = try device.client()
        var left = follow ? .max : count
        while left > 0 {
            let (host, confidence) = try HostBaseline.measure(milliseconds: UInt64(interval * 1000))
            try client.report(Baseline(host, confidencePermille: confidence))
            show(host, confidence)
            fflush(nil)
            left -= 1
        }
    }

    private func show(_ host: HostBaseline, _ confidence: UInt32) {
        print("processors: \(percent(host.processorPermille)) of \(host.processors) busy")
        print("memory:     \(bytes(host.memoryUsed * 1024)) of \(bytes(host.memoryTotal * 1024))")
        print("block I/O:  \(bytes(host.diskReadBytes))/s read, \(bytes(host.diskWrittenBytes))/s written")
        print("network:    \(bytes(host.networkReceivedBytes))/s received, \(bytes(host.networkSentBytes))/s sent")
        print("""
            waiting:    \(percent(host.processorPressure)) for processors, \(percent(host.memoryPressure)) for memory, \
            \(percent(host.ioPressure)) for I/O
            """)
        print("confidence: \(percent(confidence))")
    }
}
