"""The application's own tool server as a gate: started on copies, watched, asked for every tool."""
