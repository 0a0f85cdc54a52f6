import AdminProtocol
import ArgumentParser
import HostAgent
import Presentation

extension Component {
    struct Place: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Have components move by themselves when the service cores get too busy, and show how that goes.",
            discussion: "Without options nothing is changed. Values that aren't given stay.")
        @OptionGroup var device: DeviceOption

        @Option(help: "'off', 'reactive': by the latest interval, or 'predictive': by the forecast of the next one.")
        var mode: Mode?
        @Option(help: "How busy the cores may be before a component leaves, in 1/1000.")
        var high: UInt16?
        @Option(help: "What they must stay below with a component that comes back, in 1/1000.")
        var low: UInt16?
        @Option(help: "Intervals of the analysis that a component stays at least.")
        var rest: UInt16?
        @Option(help: "Most moves in 64 intervals.")
        var most: UInt16?

        enum Mode: String, CaseIterable, ExpressibleByArgument {
            case off, reactive, predictive
            var number: UInt8 {
                switch self {
                case .off: PlacementParameters.Mode.off.rawValue
                case .reactive: PlacementParameters.Mode.reactive.rawValue
                case .predictive: PlacementParameters.Mode.predictive.rawValue
                }
            }
        }

        func run() throws {
            let client = try device.client()
            var parameters = try client.placement().parameters
            let before = parameters
            parameters.mode = mode?.number ?? parameters.mode
            parameters.highPermille = high ?? parameters.highPermille
            parameters.lowPermille = low ?? parameters.lowPermille
            parameters.restIntervals = rest ?? parameters.restIntervals
            parameters.mostMoves = most ?? parameters.mostMoves
            if parameters != before { try client.setPlacement(parameters) }
            let status = try client.placement()
            let mode = PlacementParameters.Mode(rawValue: status.parameters.mode).map { "\($0)" } ?? "\(status.parameters.mode)"
            print("mode \(mode), high \(permille(status.parameters.highPermille)), low \(permille(status.parameters.lowPermille)), "
                + "rest \(status.parameters.restIntervals), most \(status.parameters.mostMoves) in 64 intervals")
            print("cores busy \(permille(status.load)), expected \(permille(status.expected)), "
                + "with all components here \(permille(status.demand)); away \(status.away)")
            print("intervals \(status.intervals), overloaded \(status.overloaded); moves out \(status.movesOut), home \(status.movesHome), "
                + "declined \(status.declined); ahead \(status.ahead), late \(status.late), "
                + "latest lead \(duration(Double(status.lead) * 1000))")
        }

        private func permille(_ value: UInt16) -> String { decimal(Double(value) / 10, 1) + "%" }
    }
}
