import ArgumentParser
import HostAgent
import Presentation

struct Analysis: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "What the firmware makes of each owner: what holds it up, its demand, forecast and baseline.",
        discussion: """
            All owners in turn, as 'watch' shows the one that is selected. "next" is the forecast of the next interval, which lies between \
            "from" and "to" nine times in ten; "then" that of the long interval; all are amounts a second.
            """)

    @OptionGroup var device: DeviceOption

    func run() throws {
        let now = try Observation(device.client())
        print("""
            interval \(decimal(Double(now.analysis.interval) / 1e6, 3)) s, \(now.analysis.intervals) so far; \
            long: \(now.analysis.longIntervals) intervals
            """)
        for owner in now.owners where owner.analysis != nil || owner.use != nil {
            print("")
            for line in OwnerDetails(of: owner, in: now).lines { print(line) }
        }
    }
}
