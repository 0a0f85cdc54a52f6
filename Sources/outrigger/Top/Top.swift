import ArgumentParser
import FirmwareInfo
import Presentation

struct Top: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "A live view of the emulator: speed, instructions, accesses, busy resources, the firmware's tasks.",
        discussion: """
            What it shows is counted by the emulator: the firmware isn't asked. A task is the innermost method of the firmware's \
            OffloadManager on the call stack; its cycles are those of a profile that runs while the view does, unless somebody \
            else's does. On a terminal q ends the view. A first look is taken an interval before the first page. \
            Example: outrigger top /mnt/device
            """)

    @Argument(help: "Where the running device is mounted.", completion: .directory)
    var mount: String

    @Option(help: ArgumentHelp("The firmware's image (ELF); what tools/firmware built without one.", valueName: "elf"), completion: .file())
    var firmware: String?

    @OptionGroup var pages: PageOptions

    func run() throws {
        let live = try LiveFirmware(mountPoint: mount)
        // Without the image that is loaded there are no names of tasks; all else can be seen.
        let information = try? FirmwareFile.information(firmware)
        let isLoaded = try information?.isLoaded(in: live) ?? false
        let tasks = isLoaded ? information.map { TaskProfile(live, $0) } : nil
        let isOurs = try tasks?.start() ?? false
        defer { if isOurs { try? tasks?.stop() } }
        try pages.show(TopPage(mount, live, tasks, interval: pages.interval))
    }
}
